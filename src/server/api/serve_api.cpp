#include "server/api/serve_api.hpp"

#include "server/api/api_service.hpp"
#include "server/http/serve.hpp"

namespace nixbuild::api {

void serve_api(const ServeOptions& options) {
  ApiService service(options);
  http::ServeOptions serving;
  serving.server.trusted_proxies = options.api.trusted_proxies;
  serving.server.access_log = options.api.access_log;
  serving.listen = options.api.listen;
  serving.listens_by_default = options.api.listen == config::ApiOptions().listen;
  serving.tailscale_interface = options.tailscale_interface;
  serving.reload = [&] { service.reload(options.reload()); };
  http::serve(service, serving);
}

}  // namespace nixbuild::api
