// What the server commands have in common: a service is given a server, which listens, serves,
// reloads and ends.
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

// The routes of a command, and what runs beside the serving threads to answer them.
class Service {
 public:
  Service() = default;
  virtual ~Service() = default;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  virtual const std::shared_ptr<const Router>& router() const noexcept = 0;
  // The server begins to stop: responses that have no end of their own, such as event streams, end
  // now; their clients reconnect to the next server.
  virtual void end_streams() {}
  // Ends what runs beside the serving threads. No request comes any more; the server still exists.
  virtual void stop() = 0;

  // The server that serves this, for its statistics and addresses; null before and after.
  const Server* server() const noexcept { return server_; }

 private:
  friend class Attachment;
  std::atomic<const Server*> server_{nullptr};
};

struct ServeOptions {
  ServerOptions server;
  std::vector<std::string> listen;  // as net::parse_listen_address reads them
  // Whether nobody has configured `listen`. A default address that this machine lacks, as [::1] if
  // IPv6 is off, is left out, and so are all of loopback if systemd has passed sockets.
  bool listens_by_default = false;
  std::string tailscale_interface;
  // A socket for programs on this machine, with routes of its own. If it cannot be made, the server
  // logs a warning, with what that means, and goes on.
  struct ControlSocket {
    std::filesystem::path path;
    std::shared_ptr<const Router> router;
    std::string without;
  };
  std::optional<ControlSocket> control;
  std::function<void()> reload;  // on SIGHUP; what it throws is logged
};

// Serves until SIGTERM. Throws UsageError for options that make no sense, Error naming an address
// that cannot be used.
void serve(Service& service, const ServeOptions& options);

}  // namespace nixbuild::http
