// The command `serve-cache`: serves a Nix store over Nix's binary cache protocol, signed.
#pragma once

#include <functional>

#include "common/config/cache_options.hpp"

namespace nixbuild::cache {

// Serves until SIGTERM. On SIGHUP, `read_again` reads the options again; it may throw UsageError.
// Throws UsageError for invalid options, Error naming an address or a key that cannot be used.
void serve_cache(const config::CacheOptions& options,
                 const std::function<config::CacheOptions()>& read_again);

}  // namespace nixbuild::cache
