#include "server/proxy/proxy_service.hpp"

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "common/base/version.hpp"
#include "server/http/prometheus.hpp"
#include "server/proxy/status_pages.hpp"

namespace nixbuild::proxy {

ProxyService::ProxyService(const config::ProxyOptions& options)
    : options_(options),
      store_dir_(options.store_dir),
      host_rule_(std::make_shared<http::HostRule>("[proxy] allowed_host", options.allowed_hosts)),
      upstreams_(options.upstreams, store_dir_),
      disk_(options.cache_dir, options.cache_size),
      narinfos_(upstreams_, disk_, store_dir_),
      nars_(upstreams_, narinfos_, disk_),
      router_(make_router()) {}

void ProxyService::start(http::Server& server) {
  loop_ = HttpLoop::create(server.executor());
  narinfos_.start(loop_);
  nars_.start(loop_);
  upstreams_.start(loop_);
}

void ProxyService::stop() {
  if (!loop_) return;
  loop_->close();
  narinfos_.stop();
  nars_.stop();
  disk_.stop();
  loop_.reset();
}

std::shared_ptr<const http::Router> ProxyService::make_router() {
  using http::PathParameters;
  using http::Request;
  auto router = std::make_shared<http::Router>();
  router->set_host_rule(host_rule_);
  router->get("/{hash}.narinfo",
              [this](const Request&, PathParameters path) { return narinfos_.handle(path[0]); });
  router->get("/nar/{hash}/{upstream}/{file}", [this](const Request& request, PathParameters path) {
    return nars_.handle(request, path[0], path[1], path[2]);
  });
  router->get("/nix-cache-info", [this](const Request&, PathParameters) { return cache_info(); });
  router->get("/", [this](const Request&, PathParameters) { return status_page(); });
  router->get("/health", [this](const Request&, PathParameters) { return health(); });
  router->get("/version", [](const Request&, PathParameters) {
    return http::text_response(200, NIXBUILD_VERSION "\n");
  });
  router->get("/metrics", [this](const Request&, PathParameters) { return metrics(); });
  router->set_error_response([](unsigned status, std::string_view reason) {
    if (status == 404) return not_found();
    return http::text_response(status, std::string(reason) + '\n');
  });
  return router;
}

// Never what an upstream says: Nix keeps it for a week, and takes a missing one for a cache that is
// none.
http::Response ProxyService::cache_info() const {
  http::Response response =
      http::text_response(200, fmt::format("StoreDir: {}\nWantMassQuery: 1\nPriority: {}\n",
                                           store_dir_.path(), options_.priority));
  response.content_type = "text/x-nix-cache-info";
  return response;
}

http::Response ProxyService::health() const {
  return http::json_response(200, render_health({upstreams_, narinfos_, nars_, disk_}, store_dir_));
}

http::Response ProxyService::status_page() const {
  http::Response response =
      http::text_response(200, render_status_page({upstreams_, narinfos_, nars_, disk_}));
  response.content_type = "text/html; charset=utf-8";
  response.cache_control = "no-store";
  response.headers.emplace_back("Content-Security-Policy",
                                "default-src 'none'; style-src 'unsafe-inline'");
  return response;
}

http::Response ProxyService::metrics() const {
  http::PrometheusText out("nixbuild_proxy_");
  out.process();
  if (const http::Server* server = this->server()) out.server(server->statistics(), *router_);
  const Narinfos::Statistics narinfos = narinfos_.statistics();
  out.family("narinfos_total", "counter", "Narinfos asked for, by where they were found.");
  out.sample(narinfos.from_memory, "from=\"memory\"");
  out.sample(narinfos.from_disk, "from=\"disk\"");
  out.sample(narinfos.from_upstreams, "from=\"upstreams\"");
  out.sample(narinfos.absent, "from=\"nowhere\"");
  out.single("narinfo_hedges_total", "counter",
             "Questions put to a second upstream as the first was slow.", narinfos.hedges);
  out.single("narinfo_entries", "gauge", "Answers of upstreams in memory.",
             narinfos_.memory().entries());
  out.single("narinfo_bytes", "gauge", "Memory that they take, about.", narinfos_.memory().bytes());
  const Nars::Statistics nars = nars_.statistics();
  out.single("nars_running", "gauge", "NARs on their way.", nars.running);
  out.single("nars_sent_total", "counter", "NARs sent to their end.", nars.sent);
  out.single("nars_from_disk_total", "counter", "Of these, those that were on disk.",
             nars.from_disk);
  out.single("nars_kept_total", "counter", "NARs written to the disk.", nars.kept);
  out.single("nars_continued_total", "counter",
             "Downloads that went on after an upstream had failed.", nars.continued);
  out.single("nars_mismatched_total", "counter", "NARs without the hash that their narinfo says.",
             nars.mismatches);
  out.single("nars_cut_total", "counter", "NARs whose rest no upstream had.", nars.cut);
  const auto on_disk = [&](std::string_view name, const narcache::NarCache::Statistics& files) {
    out.single(fmt::format("disk_{}_entries", name), "gauge", "Files on disk.", files.entries);
    out.single(fmt::format("disk_{}_bytes", name), "gauge", "Their size.", files.bytes);
    out.single(fmt::format("disk_{}_evictions_total", name), "counter",
               "Files removed for want of space.", files.evictions);
    out.single(fmt::format("disk_{}_rejected_total", name), "counter",
               "Files removed as they were damaged.", files.rejected);
  };
  on_disk("nars", disk_.nar_statistics());
  on_disk("narinfos", disk_.narinfo_statistics());
  const auto each = [&](auto&& value_of) {
    for (const auto& upstream : upstreams_.all())
      out.sample(value_of(*upstream), fmt::format("upstream=\"{}\"", upstream->url()));
  };
  out.family("upstream_up", "gauge", "Whether the upstream is there.");
  each([](const Upstream& upstream) { return upstream.is_up() ? 1 : 0; });
  out.family("upstream_failures_total", "counter", "Requests that it did not answer as a cache.");
  each([](const Upstream& upstream) { return upstream.counters.failures; });
  out.family("upstream_probes_total", "counter", "Probes of it.");
  each([](const Upstream& upstream) { return upstream.counters.probes; });
  out.family("upstream_nar_bytes_total", "counter", "Bytes of NARs from it.");
  each([](const Upstream& upstream) { return upstream.counters.nar_bytes; });
  http::Response response = http::text_response(200, out.take());
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  return response;
}

}  // namespace nixbuild::proxy
