// The command `serve-cache`: Nix's binary cache protocol over a Nix store, signed.
#pragma once

#include "common/config/cache_options.hpp"

namespace nixbuild::cache {

// Serves until SIGTERM. Throws UsageError for options that cannot be followed, Error where an
// address or a key cannot be used.
void serve_cache(const config::CacheOptions& options);

}  // namespace nixbuild::cache
