#include "server/api/information.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <vector>

#include "common/base/error.hpp"
#include "common/base/version.hpp"
#include "common/nix/expression.hpp"
#include "common/protocol/json.hpp"
#include "common/protocol/schema.hpp"
#include "server/http/host_rule.hpp"
#include "server/http/prometheus.hpp"

namespace nixbuild::api {
namespace {

// The port of the first TCP address; 0 if there is none yet.
std::uint16_t port_of(const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    if (!address.starts_with("http://")) continue;
    std::uint16_t port = 0;
    const std::size_t colon = address.rfind(':');
    std::from_chars(address.data() + colon + 1, address.data() + address.size(), port);
    if (port != 0) return port;
  }
  return 0;
}

}  // namespace

http::Response Information::info(const std::string& host) {
  protocol::Info info;
  const auto names = http::own_host_names();
  info.hostname = names.empty() ? "" : names.front();
  info.version = NIXBUILD_VERSION;
  info.system = nix::this_system();
  if (const http::Server* server = service_.server()) info.api_port = port_of(server->addresses());
  const net::ServerAddress& cache = cache_.address();
  // Clients reach a cache on loopback by the same host name as this server.
  info.cache_url = cache.is_local() && !host.empty() ? fmt::format("http://{}:{}", host, cache.port)
                                                     : cache.base_url();
  info.public_keys = cache_.ask().public_keys;
  const auto current = settings_.get();
  for (const auto& repository : current->repositories)
    info.repositories.push_back(repository.name);
  return http::json_response(200, protocol::to_json(info));
}

http::Response Information::health(async::PerThread<history::History>& histories) {
  protocol::Health health;
  const CacheProbe::Result cache = cache_.ask();
  health.cache_running = cache.running;
  if (!cache.running) health.problems.push_back(cache.problem);
  try {
    histories.get().generation();
  } catch (const Error& error) {
    health.problems.emplace_back(error.what());
  }
  health.status =
      health.problems.empty() ? protocol::HealthState::healthy : protocol::HealthState::degraded;
  return http::json_response(200, protocol::to_json(health));
}

http::Response Information::metrics(history::History& history, const http::Router& router) {
  http::PrometheusText out("nixbuild_api_");
  out.process();
  if (const http::Server* server = service_.server()) out.server(server->statistics(), router);
  out.single("followers", "gauge", "Clients that follow a build.", feed_.followers());
  const auto current = settings_.get();
  out.family("build_running", "gauge", "Whether a build of the repository runs or is queued.");
  for (const auto& repository : current->repositories) {
    const auto build = history.current(repository.name);
    const bool runs = build && !build->finish;
    out.sample(runs ? 1 : 0, fmt::format("repository=\"{}\"", repository.name));
  }
  out.family("build_number", "gauge", "The number of the repository's current or newest build.");
  for (const auto& repository : current->repositories) {
    const auto build = history.current(repository.name);
    out.sample(build ? build->id : 0, fmt::format("repository=\"{}\"", repository.name));
  }
  out.family("build_succeeded", "gauge", "Whether the newest build that has ended succeeded.");
  for (const auto& repository : current->repositories) {
    for (const auto& build : history.list({repository.name, {}, {}}, 3, std::nullopt).builds) {
      if (!build.finish) continue;
      out.sample(build.state == protocol::BuildState::success ? 1 : 0,
                 fmt::format("repository=\"{}\"", repository.name));
      break;
    }
  }
  http::Response response = http::text_response(200, out.take());
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  return response;
}

http::Response Information::openapi() {
  return http::json_response(200, protocol::openapi_document(NIXBUILD_VERSION));
}

}  // namespace nixbuild::api
