#include "server/api/serve_api.hpp"

#include "common/net/listen_address.hpp"
#include "server/api/api_service.hpp"
#include "server/http/server.hpp"

namespace nixbuild::api {
namespace {

// Ties a server to its service: what still runs for the server's clients ends before it goes.
class Attachment {
 public:
  Attachment(ApiService& service, const http::Server& server) : service_(service) {
    service_.set_server(&server);
  }
  ~Attachment() {
    service_.stop();
    service_.set_server(nullptr);
  }
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

 private:
  ApiService& service_;
};

}  // namespace

void serve_api(const ServeOptions& options) {
  ApiService service(options);
  http::ServerOptions server_options;
  server_options.access_log = options.api.access_log;
  http::Server server(server_options, service.router());
  const Attachment attachment(service, server);
  for (const std::string& address : options.api.listen) {
    server.listen(
        {net::parse_listen_address(address, options.tailscale_interface), service.router(), 0660});
  }
  server.on_reload([&] { service.reload(options.reload()); });
  // Event streams have no end of their own; their clients come back to the next server.
  server.on_stop([&] { service.end_streams(); });
  server.run();
}

}  // namespace nixbuild::api
