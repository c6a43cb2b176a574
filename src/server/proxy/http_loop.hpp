// HTTP requests that an event loop drives: libcurl's multi interface on an Asio executor of one
// thread. All requests share connections; HTTP/2 is used where the upstream speaks it over TLS.
//
//   auto loop = HttpLoop::create(executor);
//   std::unique_ptr<Transfer> transfer = loop->start(request, sink);   // destroying it cancels it
//
// Redirects are not followed, environment variables for proxies are ignored, and nothing but http
// and https is spoken.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "common/net/curl.hpp"
#include "server/proxy/socket_poll.hpp"

namespace nixbuild::proxy {

struct TransferRequest {
  std::string url;
  std::string unix_socket;  // empty: TCP
  // Connect to this address; empty: resolve the host's name. Libcurl resolves on a thread of its
  // own, which may hang for many seconds: only what can wait for that leaves this empty.
  std::string address;
  std::uint64_t offset = 0;           // of the first byte wanted, by a Range
  std::string etag;                   // If-None-Match
  bool fresh_connection = false;      // a new one, which is closed behind the request
  std::chrono::seconds max_idle{60};  // of a connection that is used again
  bool decode = false;                // whether the body may have a Content-Encoding
};

struct ResponseHead {
  unsigned status = 0;
  std::optional<std::uint64_t> length;  // Content-Length
  // Content-Range: "bytes 5-9/10" has all three; "bytes */10" only a size.
  std::optional<std::uint64_t> range_first;
  std::optional<std::uint64_t> range_size;
  bool is_encoded = false;  // has a Content-Encoding
  std::string etag;
};

// Reads one line of a head into `head`; what is malformed counts as absent.
void read_header_line(std::string_view line, ResponseHead& head);

// Is told what becomes of a transfer. Called from within libcurl: must neither start nor destroy
// transfers, but only note what came and wake a coroutine.
class TransferSink {
 public:
  enum class Take : std::uint8_t { all, later, refuse };

  virtual ~TransferSink() = default;
  virtual void on_head(const ResponseHead& head) = 0;
  // `later`: the transfer pauses, and the same bytes come again after Transfer::resume().
  virtual Take on_body(std::string_view bytes) = 0;
  // `error` is empty if the whole response came.
  virtual void on_end(const std::string& error) = 0;
};

class HttpLoop;

class Transfer {
 public:
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  void resume();
  // The other end's address, once connected.
  std::string peer_address() const;

 private:
  friend class HttpLoop;
  Transfer(std::shared_ptr<HttpLoop> loop, TransferSink& sink)
      : loop_(std::move(loop)), sink_(sink) {}

  std::size_t take_header(std::string_view line);
  std::size_t take_body(std::string_view bytes);
  void end(CURLcode code);

  const std::shared_ptr<HttpLoop> loop_;
  TransferSink& sink_;
  net::EasyHandle easy_;
  net::HeaderList headers_;
  net::HeaderList connect_to_;
  ResponseHead head_;
  std::size_t head_size_ = 0;
  bool head_is_whole_ = false;
  bool running_ = false;
  std::string failure_;  // why a callback refused to go on
  char error_text_[CURL_ERROR_SIZE] = {};
};

class HttpLoop : public std::enable_shared_from_this<HttpLoop> {
 public:
  static std::shared_ptr<HttpLoop> create(const boost::asio::any_io_executor& executor);
  ~HttpLoop();
  HttpLoop(const HttpLoop&) = delete;
  HttpLoop& operator=(const HttpLoop&) = delete;

  // `sink` must outlive the transfer.
  std::unique_ptr<Transfer> start(const TransferRequest& request, TransferSink& sink);
  // Ends all transfers, whose sinks are not called any more. Nothing can be started after it. To be
  // called before the executor's context goes.
  void close();

  const boost::asio::any_io_executor& executor() const noexcept { return executor_; }

 private:
  friend class Transfer;

  explicit HttpLoop(const boost::asio::any_io_executor& executor);
  static int on_socket(CURL* easy, curl_socket_t fd, int what, void* self, void* unused);
  static int on_timer(CURLM* multi, long timeout, void* self);
  void act(int fd, int events);
  void remove(Transfer& transfer);
  void schedule_end_check();
  void end_transfers();

  const boost::asio::any_io_executor executor_;
  std::unique_ptr<SocketPoll> poll_;
  std::unique_ptr<boost::asio::steady_timer> timer_;
  net::MultiHandle multi_;
  std::unordered_set<Transfer*> running_;
  bool closed_ = false;
};

}  // namespace nixbuild::proxy
