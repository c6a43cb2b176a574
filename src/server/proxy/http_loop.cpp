#include "server/proxy/http_loop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/base/version.hpp"
#include "server/http/ascii.hpp"
#include "server/http/contain.hpp"

namespace nixbuild::proxy {
namespace {

namespace asio = boost::asio;
using net::libcurl;

constexpr std::size_t head_limit = std::size_t{64} << 10;  // bytes
constexpr std::size_t etag_limit = 256;
constexpr long read_buffer = 64L << 10;  // bytes that libcurl reads at a time
constexpr long connect_timeout_ms = 5'000;
constexpr long kept_connections = 32;
// How long libcurl waits for IPv6 to connect before it tries IPv4 beside it.
constexpr long address_family_delay_ms = 50;

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") + 1 - first);
}

// "bytes FIRST-LAST/SIZE", "bytes */SIZE". Source: RFC 9110, section 14.4.
void read_content_range(std::string_view value, ResponseHead& head) {
  constexpr std::string_view unit = "bytes ";
  if (!value.starts_with(unit)) return;
  value.remove_prefix(unit.size());
  const std::size_t slash = value.find('/');
  if (slash == std::string_view::npos) return;
  const std::string_view span = value.substr(0, slash);
  const auto size = parse_number(value.substr(slash + 1));
  if (span == "*") {
    head.range_size = size;
    return;
  }
  const std::size_t dash = span.find('-');
  if (dash == std::string_view::npos) return;
  const auto first = parse_number(span.substr(0, dash));
  const auto last = parse_number(span.substr(dash + 1));
  // A part that ends before the end is not what was asked for. One that is empty, as it begins at
  // the end, is written "10-9/10".
  if (!first || !last || !size || *size == 0 || *last != *size - 1 || *first > *size) return;
  head.range_first = first;
  head.range_size = size;
}

const char* certificate_file() {
  for (const char* name : {"NIX_SSL_CERT_FILE", "SSL_CERT_FILE"}) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') return value;
  }
  return nullptr;
}

std::string error_message(CURLcode code, CURL* easy, std::string_view detail) {
  long os_error = 0;
  libcurl().easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_error);
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return "its name does not resolve";
    case CURLE_COULDNT_CONNECT:
      return os_error != 0 ? std::strerror(static_cast<int>(os_error)) : "cannot connect";
    case CURLE_OPERATION_TIMEDOUT:
      return "no answer to a connection";
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
      return "it closed the connection";
    case CURLE_PARTIAL_FILE:
      return "its answer was cut off";
    default:
      return terminal::printable(detail.empty() ? libcurl().easy_strerror(code) : detail);
  }
}

template <typename Value>
void set(CURL* easy, CURLoption option, Value value) {
  const CURLcode code = libcurl().easy_setopt(easy, option, value);
  if (code == CURLE_OUT_OF_MEMORY) throw std::bad_alloc();
  if (code != CURLE_OK) throw Error(fmt::format("libcurl: {}", libcurl().easy_strerror(code)));
}

void append(net::HeaderList& list, const std::string& text) {
  curl_slist* longer = libcurl().slist_append(list.get(), text.c_str());
  if (longer == nullptr) throw std::bad_alloc();
  (void)list.release();
  list.reset(longer);
}

void limit_protocols(CURL* easy) {
#if LIBCURL_VERSION_NUM >= 0x075500
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  set(easy, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

}  // namespace

void read_header_line(std::string_view line, ResponseHead& head) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (http::iequals(name, "content-length")) {
    head.length = parse_number(value);
  } else if (http::iequals(name, "content-range")) {
    read_content_range(value, head);
  } else if (http::iequals(name, "content-encoding")) {
    head.is_encoded = !value.empty() && !http::iequals(value, "identity");
  } else if (http::iequals(name, "etag")) {
    const bool is_plain = std::all_of(value.begin(), value.end(), [](char c) {
      return static_cast<unsigned char>(c) > ' ' && static_cast<unsigned char>(c) < 0x7f;
    });
    head.etag = is_plain && value.size() <= etag_limit ? value : std::string_view();
  }
}

// --- Transfer

Transfer::~Transfer() {
  loop_->remove(*this);
}

void Transfer::resume() {
  if (!running_) return;
  libcurl().easy_pause(easy_.get(), CURLPAUSE_CONT);
  // Bytes that libcurl held may have come, and the end with them.
  loop_->schedule_end_check();
}

std::string Transfer::peer_address() const {
  const char* text = nullptr;
  if (easy_) libcurl().easy_getinfo(easy_.get(), CURLINFO_PRIMARY_IP, &text);
  return text != nullptr ? text : "";
}

std::size_t Transfer::take_header(std::string_view line) {
  head_size_ += line.size();
  if (head_size_ > head_limit) {
    failure_ = "the head of its answer is too long";
    return 0;
  }
  if (head_is_whole_) return line.size();  // a trailer
  if (line.starts_with("HTTP/")) {
    head_ = {};
    return line.size();
  }
  if (!trimmed(line).empty()) {
    read_header_line(line, head_);
    return line.size();
  }
  long status = 0;
  libcurl().easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status < 200) return line.size();  // an interim response; another head follows
  head_.status = static_cast<unsigned>(status);
  head_is_whole_ = true;
  sink_.on_head(head_);
  return line.size();
}

std::size_t Transfer::take_body(std::string_view bytes) {
  if (!head_is_whole_) {
    failure_ = "its answer has no head";
    return 0;
  }
  switch (sink_.on_body(bytes)) {
    case TransferSink::Take::all:
      return bytes.size();
    case TransferSink::Take::later:
      return CURL_WRITEFUNC_PAUSE;
    case TransferSink::Take::refuse:
      failure_ = "its answer is too long";
      return 0;
  }
  return 0;
}

void Transfer::end(CURLcode code) {
  std::string error = failure_;
  if (error.empty() && code != CURLE_OK) error = error_message(code, easy_.get(), error_text_);
  if (error.empty() && !head_is_whole_) error = "its answer has no head";
  sink_.on_end(error);
}

// --- HttpLoop

std::shared_ptr<HttpLoop> HttpLoop::create(const asio::any_io_executor& executor) {
  return std::shared_ptr<HttpLoop>(new HttpLoop(executor));
}

HttpLoop::HttpLoop(const asio::any_io_executor& executor)
    : executor_(executor),
      poll_(std::make_unique<SocketPoll>(executor,
                                         [this](const SocketPoll::Ready& ready) {
                                           act(ready.fd,
                                               (ready.readable ? CURL_CSELECT_IN : 0) |
                                                   (ready.writable ? CURL_CSELECT_OUT : 0) |
                                                   (ready.failed ? CURL_CSELECT_ERR : 0));
                                         })),
      timer_(std::make_unique<asio::steady_timer>(executor)) {
  multi_.reset(libcurl().multi_init());
  if (!multi_) throw std::bad_alloc();
  CURLM* const multi = multi_.get();
  libcurl().multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &HttpLoop::on_socket);
  libcurl().multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
  libcurl().multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &HttpLoop::on_timer);
  libcurl().multi_setopt(multi, CURLMOPT_TIMERDATA, this);
  libcurl().multi_setopt(multi, CURLMOPT_MAXCONNECTS, kept_connections);
  libcurl().multi_setopt(multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
}

HttpLoop::~HttpLoop() {
  close();
}

void HttpLoop::close() {
  if (std::exchange(closed_, true)) return;
  bool is_resolving = false;
  for (Transfer* transfer : running_) {
    is_resolving |= transfer->peer_address().empty();
    libcurl().multi_remove_handle(multi_.get(), transfer->easy_.get());
    transfer->running_ = false;
  }
  running_.clear();
  if (is_resolving) {
    // Newer versions of libcurl would wait here for threads that resolve names. The process ends.
    // An atomic, which the compiler keeps, so that LeakSanitizer sees that the pointer is not lost.
    static std::atomic<CURLM*> abandoned = nullptr;
    abandoned = multi_.release();
  }
  // It closes the connections that are kept, for which it calls on_socket().
  multi_.reset();
  timer_.reset();
  poll_.reset();
}

int HttpLoop::on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) {
  HttpLoop& loop = *static_cast<HttpLoop*>(self);
  if (what == CURL_POLL_REMOVE) {
    loop.poll_->unwatch(fd);
    return 0;
  }
  const bool watched = http::contain("an upstream", [&] {
    loop.poll_->watch(fd, (what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0);
  });
  return watched ? 0 : -1;
}

int HttpLoop::on_timer(CURLM*, long timeout, void* self) {
  HttpLoop& loop = *static_cast<HttpLoop*>(self);
  if (loop.closed_) return 0;
  if (timeout < 0) {
    loop.timer_->cancel();
    return 0;
  }
  // Never within this call, even if nothing is to be waited for: libcurl may not be called back.
  loop.timer_->expires_after(std::chrono::milliseconds(timeout));
  loop.timer_->async_wait([weak = loop.weak_from_this()](const boost::system::error_code& error) {
    const auto self_again = weak.lock();
    if (!error && self_again) self_again->act(CURL_SOCKET_TIMEOUT, 0);
  });
  return 0;
}

void HttpLoop::act(int fd, int events) {
  if (closed_) return;
  int running = 0;
  libcurl().multi_socket_action(multi_.get(), fd, events, &running);
  end_transfers();
}

void HttpLoop::schedule_end_check() {
  asio::post(executor_, [weak = weak_from_this()] {
    const auto loop = weak.lock();
    if (loop && !loop->closed_) loop->end_transfers();
  });
}

void HttpLoop::end_transfers() {
  int left = 0;
  while (const CURLMsg* message = libcurl().multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* const easy = message->easy_handle;
    const CURLcode code = message->data.result;
    Transfer* transfer = nullptr;
    libcurl().easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    if (transfer == nullptr || !transfer->running_) continue;
    libcurl().multi_remove_handle(multi_.get(), easy);
    transfer->running_ = false;
    running_.erase(transfer);
    http::contain("the end of a request", [&] { transfer->end(code); });
  }
}

void HttpLoop::remove(Transfer& transfer) {
  if (std::exchange(transfer.running_, false)) {
    running_.erase(&transfer);
    libcurl().multi_remove_handle(multi_.get(), transfer.easy_.get());
  }
}

std::unique_ptr<Transfer> HttpLoop::start(const TransferRequest& request, TransferSink& sink) {
  if (closed_) throw Error("the proxy is stopping");
  std::unique_ptr<Transfer> transfer(new Transfer(shared_from_this(), sink));
  transfer->easy_.reset(libcurl().easy_init());
  if (!transfer->easy_) throw std::bad_alloc();
  CURL* const easy = transfer->easy_.get();
  set(easy, CURLOPT_URL, request.url.c_str());
  set(easy, CURLOPT_PATH_AS_IS, 1L);
  set(easy, CURLOPT_USERAGENT, "nixbuild/" NIXBUILD_VERSION);
  set(easy, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
  set(easy, CURLOPT_QUICK_EXIT, 1L);  // not to wait for a thread that still resolves a name
#endif
  limit_protocols(easy);
  set(easy, CURLOPT_PROXY, "");
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_timeout_ms);
  set(easy, CURLOPT_HAPPY_EYEBALLS_TIMEOUT_MS, address_family_delay_ms);
  set(easy, CURLOPT_BUFFERSIZE, read_buffer);
  // Over TLS, requests wait for a connection that all of them can share.
  const bool is_https = request.url.starts_with("https:");
  set(easy, CURLOPT_HTTP_VERSION,
      static_cast<long>(is_https ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_PIPEWAIT, is_https ? 1L : 0L);
  if (const char* file = certificate_file()) set(easy, CURLOPT_CAINFO, file);
  if (!request.unix_socket.empty()) {
    set(easy, CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
  }
  if (!request.address.empty()) {
    const bool is_ipv6 = request.address.find(':') != std::string::npos;
    append(transfer->connect_to_, is_ipv6 ? fmt::format("::[{}]:", request.address)
                                          : fmt::format("::{}:", request.address));
    set(easy, CURLOPT_CONNECT_TO, transfer->connect_to_.get());
  }
  if (request.fresh_connection) {
    set(easy, CURLOPT_FRESH_CONNECT, 1L);
    set(easy, CURLOPT_FORBID_REUSE, 1L);
    set(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
  }
  set(easy, CURLOPT_MAXAGE_CONN, static_cast<long>(request.max_idle.count()));
  if (request.decode) set(easy, CURLOPT_ACCEPT_ENCODING, "");
  if (request.offset > 0) {
    append(transfer->headers_, fmt::format("Range: bytes={}-", request.offset));
  }
  if (!request.etag.empty()) append(transfer->headers_, "If-None-Match: " + request.etag);
  set(easy, CURLOPT_HTTPHEADER, transfer->headers_.get());
  set(easy, CURLOPT_ERRORBUFFER, transfer->error_text_);
  set(easy, CURLOPT_PRIVATE, transfer.get());
  // Exceptions must not pass through libcurl.
  const auto take_header = +[](char* data, std::size_t, std::size_t size, void* context) {
    std::size_t taken = 0;
    http::contain("a head", [&] {
      taken = static_cast<Transfer*>(context)->take_header(std::string_view(data, size));
    });
    return taken;
  };
  const auto take_body = +[](char* data, std::size_t, std::size_t size, void* context) {
    std::size_t taken = 0;
    http::contain("a body", [&] {
      taken = static_cast<Transfer*>(context)->take_body(std::string_view(data, size));
    });
    return taken;
  };
  set(easy, CURLOPT_HEADERFUNCTION, take_header);
  set(easy, CURLOPT_HEADERDATA, transfer.get());
  set(easy, CURLOPT_WRITEFUNCTION, take_body);
  set(easy, CURLOPT_WRITEDATA, transfer.get());
  if (const CURLMcode code = libcurl().multi_add_handle(multi_.get(), easy); code != CURLM_OK) {
    throw Error(fmt::format("libcurl: {}", libcurl().multi_strerror(code)));
  }
  running_.insert(transfer.get());
  transfer->running_ = true;
  return transfer;
}

}  // namespace nixbuild::proxy
