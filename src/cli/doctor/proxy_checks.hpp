// The check of this machine's proxy (serve-proxy), if Nix asks that instead of the server's cache.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/machine/check.hpp"
#include "common/config/proxy_options.hpp"

namespace nixbuild::cli {

struct ProxyFindings {
  struct Upstream {
    std::string url;
    std::string state;
    std::string last_error;
  };

  std::string url;      // as Nix names it
  std::string problem;  // why it does not answer; empty: it does
  std::vector<Upstream> upstreams;
};

// Whether this URL is one that a proxy with these options listens on.
bool is_proxy(const std::string& url, const config::ProxyOptions& options);

// What /health of the proxy says, if one of Nix's substituters is this machine's proxy.
std::optional<ProxyFindings> ask_proxy(const std::vector<std::string>& substituters,
                                       const config::ProxyOptions& options);
// From the body of /health. Throws FormatError.
std::vector<ProxyFindings::Upstream> parse_proxy_health(const std::string& text);

bool asks_cache(const ProxyFindings& proxy, const std::string& cache_url);

Check check_proxy(const ProxyFindings& proxy, const std::string& cache_url);

}  // namespace nixbuild::cli
