#include "server/cache/serve_cache.hpp"

#include "server/cache/cache_service.hpp"
#include "server/http/serve.hpp"

namespace nixbuild::cache {

void serve_cache(const config::CacheOptions& options,
                 const std::function<config::CacheOptions()>& read_again) {
  CacheService service(options);
  http::ServeOptions serving;
  serving.server.threads = options.threads;
  serving.server.trusted_proxies = options.trusted_proxies;
  serving.server.access_log = options.access_log;
  serving.listen = options.listen;
  serving.listens_by_default = options.listen == config::CacheOptions().listen;
  serving.tailscale_interface = options.tailscale_interface;
  serving.control = {options.state_dir / "control.sock", service.control_router(),
                     "builds are not compressed in advance"};
  serving.reload = [&] { service.reload(read_again()); };
  http::serve(service, serving);
}

}  // namespace nixbuild::cache
