// The settings of serve-cache: the table [cache].
#pragma once

#include "common/config/cache_options.hpp"
#include "common/config/setting.hpp"

namespace nixbuild::config {

// Binds every setting to its field of `options`, which must outlive `settings`.
void add_cache_settings(Settings& settings, CacheOptions& options);

}  // namespace nixbuild::config
