#include "server/cache/serve_cache.hpp"

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/net/listen_address.hpp"
#include "server/cache/cache_service.hpp"
#include "server/http/server.hpp"

namespace nixbuild::cache {
namespace {

constexpr unsigned socket_mode = 0660;

// Ties a server to its service: what still runs for the server's clients ends before it goes.
class Attachment {
 public:
  Attachment(CacheService& service, const http::Server& server) : service_(service) {
    service_.set_server(&server);
  }
  ~Attachment() {
    service_.set_server(nullptr);
    service_.stop();
  }
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

 private:
  CacheService& service_;
};

// Without it nothing is compressed in advance, which is no reason not to serve.
void listen_for_control(http::Server& server, const CacheService& service,
                        const config::CacheOptions& options) {
  const auto path = options.state_dir / "control.sock";
  try {
    server.listen({net::UnixAddress{path.string()}, service.control_router(), socket_mode});
  } catch (const Error& error) {
    log::warn("no control socket, so builds are not compressed in advance: {}", error.what());
  }
}

}  // namespace

void serve_cache(const config::CacheOptions& options,
                 const std::function<config::CacheOptions()>& read_again) {
  CacheService service(options);
  http::ServerOptions server_options;
  server_options.threads = options.threads;
  server_options.access_log = options.access_log;
  http::Server server(server_options, service.router());
  const Attachment attachment(service, server);
  // Nobody asked for [::1] by name: a machine without IPv6 goes without.
  const bool required = options.listen != config::CacheOptions().listen;
  for (const std::string& address : options.listen) {
    server.listen({net::parse_listen_address(address, options.tailscale_interface),
                   service.router(), socket_mode, required});
  }
  listen_for_control(server, service, options);
  server.on_reload([&] { service.reload(read_again()); });
  server.run();
}

}  // namespace nixbuild::cache
