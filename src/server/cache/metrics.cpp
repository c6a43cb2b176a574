#include "server/cache/metrics.hpp"

#include "server/http/prometheus.hpp"

namespace nixbuild::cache {
namespace {

void write_narinfos(http::PrometheusText& out, const Narinfos::Statistics& narinfos) {
  out.family("narinfo_lookups_total", "counter", "Narinfos asked for, by where they were found.");
  out.sample(narinfos.hits, "from=\"memory\"");
  out.sample(narinfos.misses, "from=\"database\"");
  out.sample(narinfos.absent, "from=\"nowhere\"");
  out.sample(narinfos.from_memory, "from=\"memory_without_database\"");
  out.single("narinfo_entries", "gauge", "Narinfos in memory.", narinfos.entries);
  out.single("narinfo_bytes", "gauge", "Memory that they take, about.", narinfos.bytes);
}

void write_nars(http::PrometheusText& out, const Metrics& metrics) {
  const narcache::NarCache::Statistics& cache = metrics.nar_cache;
  out.single("nar_cache_files", "gauge", "Compressed NARs kept.", cache.entries);
  out.single("nar_cache_bytes", "gauge", "Bytes that they take.", cache.bytes);
  out.single("nar_cache_limit_bytes", "gauge", "Bytes that they may take.",
             metrics.nar_cache_limit);
  out.family("nar_cache_lookups_total", "counter", "Compressed NARs asked for.");
  out.sample(cache.hits, "result=\"hit\"");
  out.sample(cache.misses, "result=\"miss\"");
  out.single("nar_cache_evictions_total", "counter", "Files removed to free space.",
             cache.evictions);
  out.single("nar_cache_damaged_total", "counter", "Files removed as they were damaged.",
             cache.rejected);
  const CompressedNars::Statistics& compression = metrics.compression;
  out.single("compressions_running", "gauge", "Compressions that run.", compression.jobs.running);
  out.family("compressions_queued", "gauge", "Compressions that wait for their turn.");
  out.sample(compression.jobs.queued, "priority=\"foreground\"");
  out.sample(compression.jobs.queued_background, "priority=\"background\"");
  out.family("compressions_total", "counter", "Compressions that ended, by result.");
  out.sample(compression.made, "result=\"kept\"");
  out.sample(compression.unkept, "result=\"unkept\"");
  out.sample(compression.failed, "result=\"failed\"");
  out.single("compressions_streamed_total", "counter", "Compressions for one client alone.",
             compression.streamed);
  out.single("compression_seconds_total", "counter", "Time taken by those kept.",
             compression.seconds);
}

}  // namespace

std::string render_metrics(const Metrics& metrics, const http::Router& router) {
  http::PrometheusText out("nixbuild_cache_");
  out.process();
  out.server(metrics.server, router);
  write_narinfos(out, metrics.narinfos);
  write_nars(out, metrics);
  out.single("database_failures_total", "counter", "Queries that the store's database refused.",
             metrics.database_failures);
  return out.take();
}

}  // namespace nixbuild::cache
