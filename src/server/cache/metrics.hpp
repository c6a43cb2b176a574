// /metrics: counters in Prometheus's text format.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/cache/compressed_nars.hpp"
#include "server/cache/narinfos.hpp"
#include "server/http/router.hpp"
#include "server/http/server.hpp"
#include "server/narcache/nar_cache.hpp"

namespace nixbuild::cache {

struct Metrics {
  http::ServerStatistics server;
  Narinfos::Statistics narinfos;
  narcache::NarCache::Statistics nar_cache;
  std::uint64_t nar_cache_limit = 0;
  CompressedNars::Statistics compression;
  std::uint64_t database_failures = 0;
};

// `router`: the one that server.responses refers to.
std::string render_metrics(const Metrics& metrics, const http::Router& router);

}  // namespace nixbuild::cache
