#include "server/proxy/upstream.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/base/terminal.hpp"
#include "server/proxy/upstream_narinfo.hpp"

namespace nixbuild::proxy {
namespace {

namespace asio = boost::asio;
using Steady = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr std::size_t cache_info_limit = std::size_t{64} << 10;  // bytes
// Between two probes of an upstream that is away.
constexpr milliseconds shortest_retry{30'000};
constexpr milliseconds longest_retry{40'000};
// Between the end of a probe and the next, however many requests fail meanwhile.
constexpr milliseconds probe_spacing{250};
// A probe of an upstream that was up makes it away if it takes longer than this, or than twice what
// the last one took.
constexpr milliseconds doubt_budget{250};
constexpr milliseconds longest_probe{10'000};
constexpr unsigned most_failures = 5;

constexpr milliseconds default_hedge{100};
constexpr milliseconds shortest_hedge{20};
constexpr milliseconds longest_hedge{500};
constexpr milliseconds default_doubt{150};
constexpr milliseconds shortest_doubt{50};
constexpr milliseconds longest_doubt{1'500};

constexpr seconds longest_idle{60};

bool is_literal(const std::string& host) {
  unsigned char address[16];
  return ::inet_pton(AF_INET, host.c_str(), address) == 1 || host.find(':') != std::string::npos;
}

}  // namespace

std::string_view name_of(UpstreamState state) {
  switch (state) {
    case UpstreamState::unknown:
      return "unknown";
    case UpstreamState::up:
      return "up";
    case UpstreamState::away:
      return "away";
  }
  return "";
}

void LatencyWindow::add(milliseconds time) {
  times_[count_++ % times_.size()] =
      static_cast<std::uint32_t>(std::clamp<milliseconds::rep>(time.count(), 0, 1'000'000));
}

milliseconds LatencyWindow::usual(milliseconds fallback) const {
  if (count_ < least) return fallback;
  std::array<std::uint32_t, 64> sorted = times_;
  const std::size_t known = std::min(count_, sorted.size());
  const auto place = sorted.begin() + static_cast<std::ptrdiff_t>(known * 95 / 100);
  std::nth_element(sorted.begin(), place, sorted.begin() + static_cast<std::ptrdiff_t>(known));
  return milliseconds(*place);
}

Upstream::Upstream(net::ServerAddress address, const nix::StoreDir& store_dir)
    : address_(std::move(address)),
      store_dir_(store_dir),
      url_(address_.unix_socket.empty() ? address_.base_url() : "unix:" + address_.unix_socket),
      id_(upstream_id(url_)),
      has_name_(address_.unix_socket.empty() && !is_literal(address_.host)),
      since_(std::chrono::system_clock::now()),
      random_(std::random_device{}()) {}

TransferRequest Upstream::request(std::string_view path) const {
  TransferRequest request;
  request.url = address_.base_url() + '/' + std::string(path);
  request.unix_socket = address_.unix_socket;
  if (has_name_) request.address = peer_address_;
  // Connections of before it was away may be dead.
  const auto up_for = std::chrono::duration_cast<seconds>(Steady::now() - up_since_);
  request.max_idle = std::clamp(up_for, seconds(1), longest_idle);
  return request;
}

void Upstream::succeeded() {
  failures_ = 0;
}

void Upstream::answered(Steady::duration time) {
  succeeded();
  latencies_.add(std::chrono::ceil<milliseconds>(time));
}

void Upstream::failed(std::string_view why) {
  ++counters.failures;
  last_error_ = why;
  log::debug("upstream {}: {}", url_, why);
  if (!is_up()) return;
  if (++failures_ >= most_failures) {
    set_state(UpstreamState::away, why);
    wanted_->wake_all();
    return;
  }
  request_probe();
}

void Upstream::doubt() {
  if (is_up()) request_probe();
}

void Upstream::forget_state() {
  failures_ = 0;
  probe_is_outdated_ = true;
  set_state(UpstreamState::unknown, {});
  request_probe();
}

void Upstream::request_probe() {
  if (std::exchange(probe_is_wanted_, true)) return;
  wanted_->wake_all();
}

milliseconds Upstream::hedge_delay() const {
  return std::clamp(latencies_.usual(default_hedge), shortest_hedge, longest_hedge);
}

milliseconds Upstream::doubt_delay() const {
  return std::clamp(3 * latencies_.usual(default_doubt / 3), shortest_doubt, longest_doubt);
}

void Upstream::set_state(UpstreamState state, std::string_view why) {
  if (state == UpstreamState::away) {
    last_error_ = why;
  }
  if (state_ == state) return;
  state_ = state;
  since_ = std::chrono::system_clock::now();
  if (state == UpstreamState::up) {
    up_since_ = Steady::now();
    failures_ = 0;
  }
  if (state != UpstreamState::unknown && state != logged_state_) {
    logged_state_ = state;
    if (state == UpstreamState::up) {
      log::info("upstream {} is up", url_);
    } else {
      log::warn("upstream {} is away: {}", url_, why);
    }
  }
  changed_->wake_all();
}

asio::awaitable<void> Upstream::watch(std::shared_ptr<HttpLoop> loop) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  for (;;) {
    probe_is_wanted_ = false;
    probe_is_outdated_ = false;
    asio::awaitable<void> probing = probe(loop);
    co_await std::move(probing);
    ++probes_ended_;
    changed_->wake_all();
    if (!probe_is_outdated_) probe_is_wanted_ = false;  // by what it has answered
    const TimePoint ended = Steady::now();
    for (TimePoint next = TimePoint::max();;) {
      const TimePoint now = Steady::now();
      if (probe_is_wanted_) {
        next = std::min(next, probe_is_outdated_ ? now : ended + probe_spacing);
      } else if (!is_up() && next == TimePoint::max()) {
        next = now + retry_delay();
      }
      if (now >= next) break;
      auto waiter = std::make_shared<async::Waiter>(executor);
      wanted_->add(waiter);
      asio::awaitable<void> waiting = waiter->wait(next);
      co_await std::move(waiting);
    }
  }
}

milliseconds Upstream::retry_delay() {
  return milliseconds(std::uniform_int_distribution<milliseconds::rep>(
      shortest_retry.count(), longest_retry.count())(random_));
}

asio::awaitable<void> Upstream::probe(std::shared_ptr<HttpLoop> loop) {
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  ++counters.probes;
  const bool was_up = is_up();
  const TimePoint began = Steady::now();
  const TimePoint away_at = began + std::max(doubt_budget, 2 * last_probe_time_);
  std::unique_ptr<Fetch> fetch;
  try {
    TransferRequest wanted = request("nix-cache-info");
    wanted.address.clear();
    wanted.fresh_connection = true;
    wanted.decode = true;
    fetch = std::make_unique<Fetch>(*loop, wanted, cache_info_limit, wanted_);
  } catch (const Error& error) {
    set_state(UpstreamState::away, error.what());
    co_return;
  }
  while (!fetch->done() && !probe_is_outdated_) {
    const TimePoint now = Steady::now();
    if (was_up && is_up() && now >= away_at) {
      set_state(UpstreamState::away,
                fmt::format("no answer within {} ms", (away_at - began) / milliseconds(1)));
    }
    if (now >= began + longest_probe) break;
    auto waiter = std::make_shared<async::Waiter>(executor);
    wanted_->add(waiter);
    asio::awaitable<void> waiting =
        waiter->wait(was_up && is_up() ? away_at : began + longest_probe);
    co_await std::move(waiting);
  }
  if (probe_is_outdated_) co_return;
  if (!fetch->done()) {
    set_state(UpstreamState::away,
              fmt::format("no answer within {} s", longest_probe / seconds(1)));
    co_return;
  }
  judge(*fetch);
}

void Upstream::judge(const Fetch& fetch) {
  if (!fetch.error().empty()) {
    set_state(UpstreamState::away, fetch.error());
    return;
  }
  if (fetch.head().status != 200) {
    set_state(UpstreamState::away,
              fmt::format("it answers {} for nix-cache-info", fetch.head().status));
    return;
  }
  try {
    const std::string store_dir = parse_cache_info(fetch.body());
    if (store_dir != store_dir_.path()) {
      set_state(UpstreamState::away,
                fmt::format("it serves the store {}, not {}", terminal::printable(store_dir),
                            store_dir_.path()));
      return;
    }
  } catch (const FormatError& error) {
    set_state(UpstreamState::away,
              fmt::format("what answers is not a binary cache: {}", error.what()));
    return;
  }
  last_probe_time_ = std::chrono::ceil<milliseconds>(fetch.time());
  peer_address_ = fetch.peer_address();
  // A link-local address means nothing without its interface.
  if (peer_address_.starts_with("fe80:")) peer_address_.clear();
  set_state(UpstreamState::up, {});
}

}  // namespace nixbuild::proxy
