// The command `serve-cache`: Nix's binary cache protocol over a Nix store, signed.
#pragma once

#include <functional>

#include "common/config/cache_options.hpp"

namespace nixbuild::cache {

// Serves until SIGTERM. `read_again` reads the options anew on SIGHUP; it may throw UsageError.
// Throws UsageError for options that make no sense, Error naming an address or a key that cannot be
// used.
void serve_cache(const config::CacheOptions& options,
                 const std::function<config::CacheOptions()>& read_again);

}  // namespace nixbuild::cache
