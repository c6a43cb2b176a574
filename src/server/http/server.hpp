// An HTTP/1.1 server: listeners, connections, limits, shutdown. It knows nothing of what is served.
//
// Each of `threads` threads has its own io_context and its own listening sockets (SO_REUSEPORT); a
// connection lives on the thread that accepted it, so handlers of one connection never race, and
// handlers of different connections do.
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
  // Open connections of the process; fewer if the limit on open files is too low. At the limit
  // nothing is accepted until one closes: clients wait in the kernel's queue and none is refused.
  // While some wait, idle connections are closed after crowded_idle_timeout.
  std::size_t connections = 8192;
  // Bytes of answers in memory that slow clients have not taken, of all clients together. Beyond,
  // those that have taken nothing for longest are cut.
  std::size_t queued_bytes = std::size_t{256} << 20;
  std::chrono::milliseconds header_timeout{
      10'000};  // from a request's first byte to the end of its headers
  std::chrono::milliseconds idle_timeout{75'000};  // between requests
  std::chrono::milliseconds crowded_idle_timeout{1'000};
  std::chrono::milliseconds write_timeout{60'000};  // without one byte taken by the client
  std::chrono::milliseconds crowded_write_timeout{
      10'000};                                         // the same while clients wait for places
  std::chrono::milliseconds shutdown_timeout{30'000};  // what is in flight may finish for so long
};

struct ServerOptions {
  unsigned threads = 0;  // 0: one per core
  Limits limits;
  bool access_log = false;  // log a line for each request, at level info
  // Addresses and ranges from which many clients come, so that they may hold any number of
  // connections; any other peer is bounded, see PeerLimit.
  std::vector<std::string> trusted_proxies;
};

// One more listener on top of the inherited ones. Its requests go to `router`, or to the server's
// if that is null. If an inherited socket covers the address already, it is used instead.
struct Listener {
  net::ListenAddress address;
  std::shared_ptr<const Router> router;
  unsigned unix_mode = 0660;  // of a unix socket
  // Whether somebody asked for this address. If not, it is left out, with a warning, on a machine
  // that does not have it, as [::1] if IPv6 is off; and silently if the service manager has passed
  // sockets.
  bool required = true;
};

// Counted since the start; what /metrics shows.
struct ServerStatistics {
  std::uint64_t connections_accepted = 0;
  std::uint64_t connections_open = 0;
  std::uint64_t requests_in_flight = 0;
  std::uint64_t bytes_sent = 0;  // bodies
  std::uint64_t timeouts = 0;
  // Indexed by route, as Router::pattern does, then by status / 100 (0 to 5). Only of the router
  // given to the constructor.
  std::vector<std::array<std::uint64_t, 6>> responses;
  std::array<std::uint64_t, 6> unmatched{};  // of requests that no route matched
};

class Server {
 public:
  // `router` is the one of inherited systemd sockets, and the one that is counted. With libsystemd,
  // sockets passed by the service manager are taken over.
  Server(ServerOptions options, std::shared_ptr<const Router> router);
  ~Server();

  // Binds at once; throws Error naming the address, also if another server has it. An interface
  // without addresses is a warning: they are bound when they appear. Logs
  // "listening on http://ADDRESS:PORT" for each address once run() serves it.
  void listen(Listener listener);

  // Serves until stop(), SIGTERM or SIGINT; then stops accepting, finishes what is in flight, at
  // most Limits::shutdown_timeout, and returns. A second signal ends it at once. Notifies
  // systemd of readiness, reloading and stopping, and feeds its watchdog while all threads respond.
  void run();
  void stop();

  // Called on SIGHUP, on one of the serving threads. An exception is logged; the server goes on.
  void on_reload(std::function<void()> reload);

  // Called, on one of the serving threads, when the server begins to stop: responses that have no
  // end of their own should end now.
  void on_stop(std::function<void()> stop);

  // Where periodic work of the program can run: one of the serving threads' executors. Threads that
  // post to it, or complete what a handler awaits, must have ended before the Server is destroyed.
  boost::asio::any_io_executor executor();

  ServerStatistics statistics() const;
  // The addresses that are bound now, as "http://127.0.0.1:40123" or "unix:/path".
  std::vector<std::string> addresses() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nixbuild::http
