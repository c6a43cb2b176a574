#include "common/net/event_stream.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <new>
#include <random>
#include <utility>

#include "common/base/time.hpp"
#include "common/net/curl.hpp"
#include "common/net/silence_clock.hpp"

namespace nixbuild::net {
namespace {

using Steady = std::chrono::steady_clock;
using System = std::chrono::system_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t most_error_body = 65536;
// After a connection that lasted this long, the count of tries starts again.
constexpr seconds good_connection{5};
// Between two reports of a lost connection, for a server that comes and goes.
constexpr seconds telling_interval{60};
// Tolerance for the rounding of the two machines' clocks.
constexpr seconds clock_tolerance{2};

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

}  // namespace

milliseconds Backoff::next(double chance) noexcept {
  const auto wait = static_cast<double>(wait_.count());
  wait_ = std::min(2 * wait_, most);
  return milliseconds(static_cast<milliseconds::rep>(wait * (0.8 + 0.4 * chance)));
}

class EventStream::Impl {
 public:
  Impl(HttpOptions options, std::string path, StreamTimes times)
      : options_(std::move(options)),
        path_(std::move(path)),
        times_(times),
        multi_(libcurl().multi_init()),
        easy_(make_easy(options_)),
        random_(std::random_device{}()) {
    if (!multi_) throw std::bad_alloc();
    CURL* curl = easy_.get();
    libcurl().easy_setopt(curl, CURLOPT_URL, (options_.server.base_url() + path_).c_str());
    libcurl().easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    libcurl().easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Impl::take_body);
    libcurl().easy_setopt(curl, CURLOPT_WRITEDATA, this);
    libcurl().easy_setopt(curl, CURLOPT_HEADERFUNCTION, &Impl::take_header);
    libcurl().easy_setopt(curl, CURLOPT_HEADERDATA, this);
  }
  ~Impl() { disconnect(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  News wait(milliseconds timeout, int wake_fd) {
    const auto deadline = Steady::now() + timeout;
    for (;;) {
      // Hand out events before reading more: a fast server must not fill the memory.
      if (!news_.empty()) {
        News news = std::move(news_.front());
        news_.pop_front();
        return news;
      }
      if (!connected_ && Steady::now() >= retry_at_) connect();
      if (connected_) perform();
      if (!news_.empty()) continue;
      const auto left = std::chrono::ceil<milliseconds>(deadline - Steady::now());
      if (left <= milliseconds(0) || poll(left, wake_fd)) return {};
    }
  }

  seconds clock_offset() const noexcept { return clock_offset_; }

 private:
  void connect() {
    headers_.reset();
    add_header(headers_, "Accept", "text/event-stream");
    if (!options_.token.empty()) add_header(headers_, "Authorization", "Bearer " + options_.token);
    if (!parser_.last_id().empty()) add_header(headers_, "Last-Event-ID", parser_.last_id());
    libcurl().easy_setopt(easy_.get(), CURLOPT_HTTPHEADER, headers_.get());
    parser_.reset();
    failed_response_ = {};
    head_is_whole_ = false;
    is_stream_ = false;
    date_.clear();
    failure_ = nullptr;
    silence_.restart();
    connected_at_ = Steady::now();
    libcurl().multi_add_handle(multi_.get(), easy_.get());
    connected_ = true;
  }

  void disconnect() {
    if (!std::exchange(connected_, false)) return;
    libcurl().multi_remove_handle(multi_.get(), easy_.get());
  }

  // Lets libcurl read and write without waiting.
  void perform() {
    int running = 0;
    libcurl().multi_perform(multi_.get(), &running);
    bool ended = false;
    CURLcode code = CURLE_OK;
    int left = 0;
    while (const CURLMsg* message = libcurl().multi_info_read(multi_.get(), &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      ended = true;
      code = message->data.result;
    }
    while (auto event = parser_.take()) {
      in_outage_ = false;
      if (std::exchange(told_lost_, false)) news_.push_back({News::Kind::regained, {}, {}});
      news_.push_back({News::Kind::event, std::move(*event), {}});
    }
    if (ended) {
      end_of_connection(code);
    } else if (silence_.elapsed() > (head_is_whole_ ? times_.silence : options_.total_timeout)) {
      end_of_connection(CURLE_OPERATION_TIMEDOUT);
    }
  }

  void end_of_connection(CURLcode code) {
    const bool was_streaming = is_stream_;
    const std::string request = "GET " + path_;
    try {
      if (failure_) std::rethrow_exception(failure_);
      if (head_is_whole_ && !is_stream_) throw_refused(options_, request, failed_response_);
      if (code == CURLE_OK || code == CURLE_PARTIAL_FILE) {
        throw RefusedError("the server closed the connection");
      }
      if (was_streaming && code == CURLE_OPERATION_TIMEDOUT) {
        throw UnreachableError(fmt::format("nothing came for {} s", times_.silence.count()));
      }
      throw_transfer_error(code, easy_.get(), options_, request);
    } catch (const RefusedError& error) {
      disconnect();
      if (!has_streamed_ || error.is_final()) throw;
      lose(error);
    } catch (const UnreachableError& error) {
      disconnect();
      if (!has_streamed_) throw;
      lose(error);
    }
  }

  void lose(const Error& error) {
    const auto now = Steady::now();
    if (now - connected_at_ >= good_connection) backoff_.reset();
    if (!std::exchange(in_outage_, true)) {
      outage_began_ = now;
      if (!last_telling_ || now - *last_telling_ >= telling_interval) {
        last_telling_ = now;
        told_lost_ = true;
        news_.push_back({News::Kind::lost, {}, first_line(error.what())});
      }
    } else if (now - outage_began_ >= times_.patience) {
      throw UnreachableError(fmt::format("given up after {} minutes without the server: {}",
                                         times_.patience.count() / 60, error.what()));
    }
    retry_at_ = now + backoff_.next(std::uniform_real_distribution(0.0, 1.0)(random_));
  }

  // Whether `wake_fd` is readable.
  bool poll(milliseconds timeout, int wake_fd) {
    if (connected_) {
      // At most until the next check for silence.
      timeout = std::min(timeout, milliseconds(1000));
    } else {
      timeout = std::min(timeout, std::chrono::ceil<milliseconds>(retry_at_ - Steady::now()));
    }
    curl_waitfd waiting = {wake_fd, CURL_WAIT_POLLIN, 0};
    libcurl().multi_poll(multi_.get(), &waiting, wake_fd >= 0 ? 1 : 0,
                         static_cast<int>(std::max<milliseconds::rep>(timeout.count(), 0)),
                         nullptr);
    return waiting.revents != 0;
  }

  static std::size_t take_header(char* data, std::size_t, std::size_t size, void* context) {
    auto& self = *static_cast<Impl*>(context);
    try {
      self.header(std::string_view(data, size));
      return size;
    } catch (...) {
      self.failure_ = std::current_exception();
      return 0;
    }
  }

  void header(std::string_view line) {
    silence_.restart();
    if (line.starts_with("HTTP/")) {
      date_.clear();
      return;
    }
    constexpr std::string_view date = "date:";
    if (line.size() > date.size() &&
        libcurl().strnequal(line.data(), date.data(), date.size()) != 0) {
      date_ = line.substr(date.size());
    }
    if (line != "\r\n" && line != "\n") return;
    long status = 0;
    libcurl().easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) return;  // an interim response, another head follows
    head_is_whole_ = true;
    const char* text = nullptr;
    libcurl().easy_getinfo(easy_.get(), CURLINFO_CONTENT_TYPE, &text);
    failed_response_.status = static_cast<unsigned>(status);
    failed_response_.content_type = text != nullptr ? text : "";
    is_stream_ = status == 200 && failed_response_.content_type.starts_with("text/event-stream");
    if (!is_stream_) return;
    has_streamed_ = true;
    if (const auto time = parse_http_date(date_)) {
      const seconds offset = *time - std::chrono::floor<seconds>(System::now());
      clock_offset_ = std::chrono::abs(offset) > clock_tolerance ? offset : seconds(0);
    }
  }

  static std::size_t take_body(char* data, std::size_t, std::size_t size, void* context) {
    auto& self = *static_cast<Impl*>(context);
    try {
      self.silence_.restart();
      const std::string_view bytes(data, size);
      if (self.is_stream_) {
        self.parser_.feed(bytes);
      } else {
        std::string& body = self.failed_response_.body;
        body += bytes.substr(0, most_error_body - body.size());
      }
      return size;
    } catch (...) {
      self.failure_ = std::current_exception();
      return 0;
    }
  }

  HttpOptions options_;
  std::string path_;
  StreamTimes times_;
  MultiHandle multi_;
  HeaderList headers_;
  EasyHandle easy_;
  EventParser parser_;
  std::deque<News> news_;

  // The connection.
  bool connected_ = false;  // or connecting
  bool head_is_whole_ = false;
  bool is_stream_ = false;
  std::string date_;
  HttpResponse failed_response_;  // the response instead of a stream
  std::exception_ptr failure_;    // thrown inside libcurl's callbacks
  SilenceClock silence_;
  Steady::time_point connected_at_;

  // All connections.
  bool has_streamed_ = false;
  bool in_outage_ = false;
  bool told_lost_ = false;
  Steady::time_point outage_began_;
  std::optional<Steady::time_point> last_telling_;
  Steady::time_point retry_at_;
  Backoff backoff_;
  std::minstd_rand random_;
  seconds clock_offset_{0};
};

EventStream::EventStream(HttpOptions options, std::string path, StreamTimes times)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(path), times)) {}
EventStream::~EventStream() = default;
EventStream::EventStream(EventStream&&) noexcept = default;
EventStream& EventStream::operator=(EventStream&&) noexcept = default;

EventStream::News EventStream::wait(milliseconds timeout, int wake_fd) {
  return impl_->wait(timeout, wake_fd);
}

seconds EventStream::clock_offset() const noexcept {
  return impl_->clock_offset();
}

}  // namespace nixbuild::net
