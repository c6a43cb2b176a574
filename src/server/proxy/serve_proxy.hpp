// The command `serve-proxy`: a substituter on loopback that always answers at once, with what other
// caches have.
#pragma once

#include "common/config/proxy_options.hpp"

namespace nixbuild::proxy {

// Serves until SIGTERM. Throws UsageError for options that make no sense, Error naming an address
// that cannot be used.
void serve_proxy(const config::ProxyOptions& options);

}  // namespace nixbuild::proxy
