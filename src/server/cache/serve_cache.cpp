#include "server/cache/serve_cache.hpp"
