// All of serve-proxy but the HTTP server: its parts, put together, and the routes to them.
//
// It runs on one thread: everything here is used by the server's only worker alone.
#pragma once

#include <memory>

#include "common/config/proxy_options.hpp"
#include "common/nix/store_path.hpp"
#include "server/http/host_rule.hpp"
#include "server/http/router.hpp"
#include "server/http/serve.hpp"
#include "server/proxy/disk_cache.hpp"
#include "server/proxy/http_loop.hpp"
#include "server/proxy/narinfos.hpp"
#include "server/proxy/nars.hpp"
#include "server/proxy/upstreams.hpp"

namespace nixbuild::proxy {

class ProxyService final : public http::Service {
 public:
  // Throws UsageError for options that cannot be followed.
  explicit ProxyService(const config::ProxyOptions& options);

  const std::shared_ptr<const http::Router>& router() const noexcept override { return router_; }
  void start(http::Server& server) override;
  void stop() override;

 private:
  std::shared_ptr<const http::Router> make_router();
  http::Response cache_info() const;
  http::Response health() const;
  http::Response status_page() const;
  http::Response metrics() const;

  const config::ProxyOptions options_;
  const nix::StoreDir store_dir_;
  const std::shared_ptr<http::HostRule> host_rule_;
  Upstreams upstreams_;
  DiskCache disk_;
  Narinfos narinfos_;
  Nars nars_;
  std::shared_ptr<HttpLoop> loop_;
  std::shared_ptr<const http::Router> router_;
};

}  // namespace nixbuild::proxy
