#include "server/proxy/serve_proxy.hpp"

#include "server/http/serve.hpp"
#include "server/proxy/proxy_service.hpp"

namespace nixbuild::proxy {

void serve_proxy(const config::ProxyOptions& options) {
  ProxyService service(options);
  http::ServeOptions serving;
  serving.server.threads = 1;  // all connections to upstreams are shared by it
  serving.server.access_log = options.access_log;
  serving.listen = options.listen;
  serving.listens_by_default = options.listen == config::ProxyOptions().listen;
  serving.tailscale_interface = options.tailscale_interface;
  http::serve(service, serving);
}

}  // namespace nixbuild::proxy
