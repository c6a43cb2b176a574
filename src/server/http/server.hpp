// An HTTP/1.1 server: listeners, connections, limits, shutdown. Independent of what it serves.
//
// Each of `threads` threads has its own io_context and its own listening sockets (SO_REUSEPORT). A
// connection stays on the thread that accepted it, so its handlers never race with each other, but
// handlers of different connections can.
#pragma once

#include <array>
#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/net/listen_address.hpp"
#include "server/http/router.hpp"

namespace nixbuild::http {

struct Limits {
  std::size_t header_size = 16 * 1024;  // bytes, request line and headers; more is answered 431
  std::size_t target_size = 8 * 1024;   // bytes; more is answered 414
  // Open connections of the process; fewer if the limit on open files is too low. At the limit, the
  // server accepts none until one closes: clients wait in the kernel's queue, and none is refused.
  // While some wait, idle connections are closed after crowded_idle_timeout.
  std::size_t connections = 8192;
  // Response bytes in memory that slow clients have not read, for all clients together. Above this,
  // the connections that have been stalled longest are reset.
  std::size_t queued_bytes = std::size_t{256} << 20;
  std::chrono::milliseconds header_timeout{
      10'000};  // from a request's first byte to the end of its headers
  std::chrono::milliseconds idle_timeout{75'000};  // between requests
  std::chrono::milliseconds crowded_idle_timeout{1'000};
  std::chrono::milliseconds write_timeout{60'000};  // without the client reading a byte
  std::chrono::milliseconds crowded_write_timeout{
      10'000};  // the same, while clients wait to be accepted
  std::chrono::milliseconds shutdown_timeout{30'000};  // for finishing requests in progress
};

struct ServerOptions {
  unsigned threads = 0;  // 0: one per core
  Limits limits;
  bool access_log = false;  // log a line for each request, at level info
  // Addresses and ranges of proxies that serve many clients, and so may hold any number of
  // connections; other peers are limited, see PeerLimit.
  std::vector<std::string> trusted_proxies;
};

// An additional listener besides the inherited ones. Its requests go to `router`, or to the
// server's router if null. If an inherited socket already covers the address, it is used instead.
struct Listener {
  net::ListenAddress address;
  std::shared_ptr<const Router> router;
  unsigned unix_mode = 0660;  // for a unix socket
  // Whether the address was configured explicitly. If not, an address that this machine lacks, such
  // as [::1] if IPv6 is off, is skipped with a warning; and the address is skipped silently if the
  // service manager passed sockets.
  bool required = true;
};

// Totals since the start, for /metrics.
struct ServerStatistics {
  std::uint64_t connections_accepted = 0;
  std::uint64_t connections_open = 0;
  std::uint64_t requests_in_flight = 0;
  std::uint64_t bytes_sent = 0;  // bodies
  std::uint64_t timeouts = 0;
  // Indexed by route, as in Router::pattern, then by status / 100 (0 to 5). Only for the router
  // given to the constructor.
  std::vector<std::array<std::uint64_t, 6>> responses;
  std::array<std::uint64_t, 6> unmatched{};  // requests that no route matched
};

class Server {
 public:
  // `router` serves inherited systemd sockets, and is the one in the statistics. With libsystemd,
  // takes over the sockets passed by the service manager.
  Server(ServerOptions options, std::shared_ptr<const Router> router);
  ~Server();

  // Binds immediately; throws Error naming the address, also if another server uses it. An
  // interface without addresses causes a warning: they are bound when they appear. Logs "listening
  // on http://ADDRESS:PORT" for each address once run() serves it.
  void listen(Listener listener);

  // Serves until stop(), SIGTERM or SIGINT; then stops accepting, finishes requests in progress for
  // at most Limits::shutdown_timeout, and returns. A second signal ends it immediately. Notifies
  // systemd of readiness, reloading and stopping, and feeds its watchdog while all threads respond.
  void run();
  void stop();

  // Called on SIGHUP, on one of the serving threads. Exceptions are logged, and the server
  // continues.
  void on_reload(std::function<void()> reload);

  // Called on one of the serving threads when the server begins to stop: responses without an end
  // should end now.
  void on_stop(std::function<void()> stop);

  // An executor of one of the serving threads, for the program's periodic work. Threads that post
  // to it, or complete what a handler awaits, must end before the Server is destroyed.
  boost::asio::any_io_executor executor();

  ServerStatistics statistics() const;
  // The currently bound addresses, as "http://127.0.0.1:40123" or "unix:/path".
  std::vector<std::string> addresses() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nixbuild::http
