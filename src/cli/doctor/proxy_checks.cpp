#include "cli/doctor/proxy_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "cli/machine/nix_settings.hpp"
#include "common/base/error.hpp"
#include "common/base/terminal.hpp"

namespace nixbuild::cli {
namespace {

using terminal::printable;

const ProxyStatus::Upstream* find_upstream(const ProxyFindings& proxy,
                                           const std::string& cache_url) {
  const auto& upstreams = proxy.status.upstreams;
  const auto found = std::find_if(
      upstreams.begin(), upstreams.end(),
      [&](const ProxyStatus::Upstream& upstream) { return same_cache(upstream.url, cache_url); });
  return found != upstreams.end() ? &*found : nullptr;
}

}  // namespace

std::optional<ProxyFindings> find_proxy(const std::vector<std::string>& substituters,
                                        const config::ProxyOptions& options) {
  const auto found = std::find_if(substituters.begin(), substituters.end(),
                                  [&](const std::string& url) { return is_proxy(url, options); });
  if (found == substituters.end()) return std::nullopt;
  ProxyFindings proxy;
  proxy.url = *found;
  try {
    proxy.status = parse_proxy_status(ask_proxy(proxy.url));
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
    check.message = fmt::format("Nix asks {}, but no proxy answers there: {}", printable(proxy.url),
                                printable(proxy.problem));
    check.remedy = "run systemctl status nixbuild-proxy (with --user if Home Manager installed it)";
    return check;
  }
  const ProxyStatus::Upstream* upstream = find_upstream(proxy, cache_url);
  if (upstream == nullptr) {
    check.state = CheckState::warning;
    check.message = fmt::format("the proxy does not ask {}", cache_url);
    check.remedy = fmt::format("add \"{}\" to upstream in [proxy] of the configuration", cache_url);
  } else if (upstream->state == "up") {
    check.state = CheckState::ok;
    check.message = fmt::format("asks {}, which is up", cache_url);
  } else {
    check.state = CheckState::warning;
    check.message = fmt::format(
        "the proxy considers {} {}{}", cache_url, printable(upstream->state),
        upstream->last_error.empty() ? std::string()
                                     : fmt::format(": {}", printable(upstream->last_error)));
    check.remedy = "none needed: it probes again within 40 seconds, or when the network changes";
  }
  return check;
}

}  // namespace nixbuild::cli
