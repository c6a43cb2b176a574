#include "server/http/serve.hpp"

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/net/listen_address.hpp"

namespace nixbuild::http {
namespace {

constexpr unsigned socket_mode = 0660;

}  // namespace

// Attaches a service to its server: ends the service's work for clients before the server is
// destroyed.
class Attachment {
 public:
  Attachment(Service& service, const Server& server) : service_(service) {
    service_.server_ = &server;
  }
  ~Attachment() {
    service_.stop();
    service_.server_ = nullptr;
  }
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

 private:
  Service& service_;
};

void serve(Service& service, const ServeOptions& options) {
  Server server(options.server, service.router());
  const Attachment attachment(service, server);
  service.start(server);
  for (const std::string& address : options.listen) {
    server.listen({net::parse_listen_address(address, options.tailscale_interface), nullptr,
                   socket_mode, !options.listens_by_default});
  }
  if (const auto& control = options.control) {
    try {
      server.listen({net::UnixAddress{control->path.string()}, control->router, socket_mode});
    } catch (const Error& error) {
      log::warn("no control socket, so {}: {}", control->without, error.what());
    }
  }
  server.on_reload(options.reload);
  server.on_stop([&] { service.end_streams(); });
  server.run();
}

}  // namespace nixbuild::http
