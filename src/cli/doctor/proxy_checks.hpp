// The check of this machine's proxy (serve-proxy), if Nix asks that instead of the server's cache.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/machine/check.hpp"
#include "cli/machine/local_proxy.hpp"
#include "common/config/proxy_options.hpp"

namespace nixbuild::cli {

struct ProxyFindings {
  std::string url;      // as Nix names it
  std::string problem;  // why there is no status; empty: there is one
  ProxyStatus status;
};

// What the proxy says, if one of Nix's substituters is this machine's proxy.
std::optional<ProxyFindings> find_proxy(const std::vector<std::string>& substituters,
                                        const config::ProxyOptions& options);

// Whether the proxy has this cache as an upstream.
bool asks_cache(const ProxyFindings& proxy, const std::string& cache_url);

Check check_proxy(const ProxyFindings& proxy, const std::string& cache_url);

}  // namespace nixbuild::cli
