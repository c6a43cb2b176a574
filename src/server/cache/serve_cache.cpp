#include "server/cache/serve_cache.hpp"

namespace nixbuild::cache {

void serve_cache(const config::CacheOptions&) {}

}  // namespace nixbuild::cache
