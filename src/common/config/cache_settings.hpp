// The settings of serve-cache: the table [cache].
#pragma once

#include "common/config/cache_options.hpp"
#include "common/config/setting.hpp"

namespace nixbuild::config {

// Binds every setting to its field of `options`, which must outlive `settings`.
void add_cache_settings(Settings& settings, CacheOptions& options);

// Throws UsageError if `level` is invalid for the compression: zstd has 1 to 22, xz 0 to 9; none
// accepts any.
void check_level(compress::Compression compression, int level);

}  // namespace nixbuild::config
