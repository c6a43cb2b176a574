// Common to all server commands: creates a server for a service, and handles listening, reloading
// and shutdown.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/http/router.hpp"
#include "server/http/server.hpp"

namespace nixbuild::http {

// The routes of a command, and its work beside the serving threads.
class Service {
 public:
  Service() = default;
  virtual ~Service() = default;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  virtual const std::shared_ptr<const Router>& router() const noexcept = 0;
  // Called when the server exists and serves nothing yet.
  virtual void start(Server& server) { static_cast<void>(server); }
  // Called when the server begins to stop: responses without an end, such as event streams, end
  // now; their clients reconnect to the next server.
  virtual void end_streams() {}
  // Ends the work beside the serving threads. No more requests arrive; the server still exists.
  virtual void stop() = 0;

  // The server that serves this, for its statistics and addresses; null before and after serving.
  const Server* server() const noexcept { return server_; }

 private:
  friend class Attachment;
  std::atomic<const Server*> server_{nullptr};
};

struct ServeOptions {
  ServerOptions server;
  std::vector<std::string> listen;  // in the form of net::parse_listen_address
  // Whether `listen` is the default. A default address that this machine lacks, such as [::1] if
  // IPv6 is off, is skipped, and so are all loopback addresses if systemd passed sockets.
  bool listens_by_default = false;
  std::string tailscale_interface;
  // A socket for programs on this machine, with its own routes. If it cannot be created, the server
  // logs a warning with the consequences and continues.
  struct ControlSocket {
    std::filesystem::path path;
    std::shared_ptr<const Router> router;
    std::string without;
  };
  std::optional<ControlSocket> control;
  std::function<void()> reload;  // on SIGHUP; exceptions are logged
};

// Serves until SIGTERM. Throws UsageError for invalid options, Error naming an address that cannot
// be used.
void serve(Service& service, const ServeOptions& options);

}  // namespace nixbuild::http
