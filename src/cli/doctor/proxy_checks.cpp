#include "cli/doctor/proxy_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <variant>

#include "cli/machine/nix_settings.hpp"
#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/net/http_client.hpp"
#include "common/net/listen_address.hpp"
#include "common/net/server_address.hpp"

namespace nixbuild::cli {
namespace {

using terminal::printable;

constexpr std::chrono::milliseconds proxy_timeout{3'000};

const ProxyFindings::Upstream* find_upstream(const ProxyFindings& proxy,
                                             const std::string& cache_url) {
  const auto found = std::find_if(
      proxy.upstreams.begin(), proxy.upstreams.end(),
      [&](const ProxyFindings::Upstream& upstream) { return same_cache(upstream.url, cache_url); });
  return found != proxy.upstreams.end() ? &*found : nullptr;
}

}  // namespace

bool is_proxy(const std::string& url, const config::ProxyOptions& options) {
  try {
    const net::ServerAddress address = net::parse_server_address(url);
    if (!address.is_local()) return false;
    return std::any_of(options.listen.begin(), options.listen.end(),
                       [&](const std::string& listen) {
                         const net::ListenAddress parsed =
                             net::parse_listen_address(listen, options.tailscale_interface);
                         const auto* tcp = std::get_if<net::TcpAddress>(&parsed);
                         return tcp != nullptr && tcp->port == address.port;
                       });
  } catch (const UsageError&) {
    return false;  // such as s3://
  }
}

std::vector<ProxyFindings::Upstream> parse_proxy_health(const std::string& text) {
  try {
    std::vector<ProxyFindings::Upstream> upstreams;
    const nlohmann::json health = nlohmann::json::parse(text);
    for (const nlohmann::json& upstream : health.at("upstreams")) {
      upstreams.push_back({upstream.at("url").get<std::string>(),
                           upstream.at("state").get<std::string>(),
                           upstream.at("last_error").get<std::string>()});
    }
    return upstreams;
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(error.what());
  }
}

std::optional<ProxyFindings> ask_proxy(const std::vector<std::string>& substituters,
                                       const config::ProxyOptions& options) {
  const auto found = std::find_if(substituters.begin(), substituters.end(),
                                  [&](const std::string& url) { return is_proxy(url, options); });
  if (found == substituters.end()) return std::nullopt;
  ProxyFindings proxy;
  proxy.url = *found;
  try {
    net::HttpOptions http;
    http.server = net::parse_server_address(*found);
    http.service = "serve-proxy";
    http.unit = "nixbuild-proxy";
    http.connect_timeout = proxy_timeout;
    http.total_timeout = proxy_timeout;
    net::HttpClient client(http);
    const net::HttpResponse response = client.get("/health");
    if (response.status != 200) net::throw_refused(http, "GET /health", response);
    proxy.upstreams = parse_proxy_health(response.body);
  } catch (const Error& error) {
    const std::string_view text = error.what();
    proxy.problem = text.substr(0, text.find('\n'));
  }
  return proxy;
}

bool asks_cache(const ProxyFindings& proxy, const std::string& cache_url) {
  return find_upstream(proxy, cache_url) != nullptr;
}

Check check_proxy(const ProxyFindings& proxy, const std::string& cache_url) {
  Check check{"proxy", CheckState::failed, {}, {}};
  if (!proxy.problem.empty()) {
    check.message = fmt::format("Nix asks {}, which does not answer: {}", printable(proxy.url),
                                printable(proxy.problem));
    check.remedy = "systemctl status nixbuild-proxy (a service of yours: systemctl --user)";
    return check;
  }
  const ProxyFindings::Upstream* upstream = find_upstream(proxy, cache_url);
  if (upstream == nullptr) {
    check.state = CheckState::warning;
    check.message = fmt::format("the proxy does not ask {}", cache_url);
    check.remedy = fmt::format("add \"{}\" to upstream in [proxy] of the configuration", cache_url);
  } else if (upstream->state == "up") {
    check.state = CheckState::ok;
    check.message = fmt::format("passes on what {} has", cache_url);
  } else {
    check.state = CheckState::warning;
    check.message = fmt::format("for the proxy, {} is {}{}", cache_url, printable(upstream->state),
                                upstream->last_error.empty()
                                    ? std::string()
                                    : fmt::format(": {}", printable(upstream->last_error)));
    check.remedy = "it asks again within 40 seconds, or when the network changes";
  }
  return check;
}

}  // namespace nixbuild::cli
