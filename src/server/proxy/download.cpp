#include "server/proxy/download.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <utility>

namespace nixbuild::proxy {
namespace {

namespace asio = boost::asio;
using Steady = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr std::size_t buffer_limit = std::size_t{256} << 10;  // bytes
// Without a byte from an upstream for so long, a probe finds out whether it is there.
constexpr milliseconds doubt_delay{1'000};
// An upstream that is there may be silent for so long, as it may compress a large file first.
constexpr seconds longest_silence{60};
// Fewer bytes than these in that time of waiting are too few.
constexpr seconds speed_window{10};
constexpr std::uint64_t least_in_window = std::uint64_t{8} << 10;

}  // namespace

Download::Download(HttpLoop& loop, Upstream& upstream, std::string_view path, std::uint64_t offset)
    : upstream_(upstream) {
  TransferRequest request = upstream.request(path);
  request.offset = offset;
  transfer_ = loop.start(request, *this);
}

void Download::on_head(const ResponseHead& head) {
  head_ = head;
  has_head_ = true;
  changed_->wake_all();
}

TransferSink::Take Download::on_body(std::string_view bytes) {
  if (!buffer_.empty() && bytes.size() + buffer_.size() > buffer_limit) {
    is_paused_ = true;
    return Take::later;
  }
  buffer_ += bytes;
  received_ += bytes.size();
  changed_->wake_all();
  return Take::all;
}

void Download::on_end(const std::string& error) {
  error_ = error;
  done_ = true;
  changed_->wake_all();
}

asio::awaitable<void> Download::wait_for_head() {
  if (!has_head_) {
    asio::awaitable<void> waiting = wait(true);
    co_await std::move(waiting);
  }
}

asio::awaitable<bool> Download::read(std::string& bytes) {
  bytes.clear();
  if (buffer_.empty() && !done_) {
    asio::awaitable<void> waiting = wait(false);
    co_await std::move(waiting);
  }
  if (buffer_.empty()) {
    if (!error_.empty()) throw DownloadError(error_);
    co_return false;
  }
  buffer_.swap(bytes);
  if (std::exchange(is_paused_, false)) transfer_->resume();
  co_return true;
}

asio::awaitable<void> Download::wait(bool for_head) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const TimePoint began = Steady::now();
  const TimePoint give_up_at = began + longest_silence;
  TimePoint doubt_at = began + (for_head ? upstream_.doubt_delay() : doubt_delay);
  for (;;) {
    if (done_ || (for_head ? has_head_ : !buffer_.empty())) break;
    if (upstream_.is_away()) throw DownloadError("it went away");
    const TimePoint now = Steady::now();
    if (now >= give_up_at) {
      throw DownloadError(fmt::format("nothing came for {} s", longest_silence.count()));
    }
    if (now >= doubt_at) {
      upstream_.doubt();
      doubt_at = now + std::max<milliseconds>(doubt_delay, 2 * upstream_.doubt_delay());
    }
    auto waiter = std::make_shared<async::Waiter>(executor);
    changed_->add(waiter);
    upstream_.changed().add(waiter);
    asio::awaitable<void> waiting = waiter->wait(std::min(doubt_at, give_up_at));
    co_await std::move(waiting);
  }
  if (for_head) {
    if (!has_head_) throw DownloadError(error_.empty() ? "it closed the connection" : error_);
    co_return;
  }
  waited_ += Steady::now() - began;
  if (waited_ < speed_window) co_return;
  if (received_ < least_in_window && !done_) throw DownloadError("it is too slow");
  waited_ = {};
  received_ = 0;
}

}  // namespace nixbuild::proxy
