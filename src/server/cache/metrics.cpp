#include "server/cache/metrics.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <system_error>

#include "common/base/files.hpp"

namespace nixbuild::cache {
namespace {

class Writer {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    fmt::format_to(out(), "# HELP nixbuild_cache_{} {}\n# TYPE nixbuild_cache_{} {}\n", name, help,
                   name, type);
  }
  template <typename Value>
  void sample(Value value, std::string_view labels = {}) {
    if (labels.empty()) {
      fmt::format_to(out(), "nixbuild_cache_{} {}\n", name_, value);
    } else {
      fmt::format_to(out(), "nixbuild_cache_{}{{{}}} {}\n", name_, labels, value);
    }
  }
  template <typename Value>
  void single(std::string_view name, std::string_view type, std::string_view help, Value value) {
    family(name, type, help);
    sample(value);
  }
  std::string take() { return std::move(text_); }

 private:
  std::back_insert_iterator<std::string> out() { return std::back_inserter(text_); }
  std::string text_;
  std::string name_;
};

std::uint64_t resident_bytes() {
  const auto text = read_file("/proc/self/statm");
  unsigned long long size = 0;
  unsigned long long resident = 0;
  if (!text || std::sscanf(text->c_str(), "%llu %llu", &size, &resident) != 2) return 0;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t open_descriptors() {
  std::error_code error;
  std::uint64_t count = 0;
  for (std::filesystem::directory_iterator item("/proc/self/fd", error), end; !error && item != end;
       item.increment(error)) {
    ++count;
  }
  return count > 0 ? count - 1 : 0;  // not the one that reads the directory
}

void write_server(Writer& out, const http::ServerStatistics& server, const http::Router& router) {
  out.family("responses_total", "counter", "Responses by route and class of status.");
  for (std::size_t route = 0; route < server.responses.size(); ++route) {
    const std::string_view pattern =
        route < router.route_count() ? std::string_view(router.pattern(route)) : "none";
    for (std::size_t status = 1; status < server.responses[route].size(); ++status) {
      const std::uint64_t count = server.responses[route][status];
      if (count == 0) continue;
      out.sample(count, fmt::format("route=\"{}\",status=\"{}xx\"", pattern, status));
    }
  }
  out.single("sent_bytes_total", "counter", "Bytes of bodies sent.", server.bytes_sent);
  out.single("connections_total", "counter", "Connections accepted.", server.connections_accepted);
  out.single("connections", "gauge", "Connections open.", server.connections_open);
  out.single("requests", "gauge", "Requests being answered.", server.requests_in_flight);
  out.single("timeouts_total", "counter", "Connections closed as the client was too slow.",
             server.timeouts);
}

void write_narinfos(Writer& out, const Narinfos::Statistics& narinfos) {
  out.family("narinfo_lookups_total", "counter", "Narinfos asked for, by where they were found.");
  out.sample(narinfos.hits, "from=\"memory\"");
  out.sample(narinfos.misses, "from=\"database\"");
  out.sample(narinfos.absent, "from=\"nowhere\"");
  out.sample(narinfos.from_memory, "from=\"memory_without_database\"");
  out.single("narinfo_entries", "gauge", "Narinfos in memory.", narinfos.entries);
  out.single("narinfo_bytes", "gauge", "Memory that they take, about.", narinfos.bytes);
}

void write_nars(Writer& out, const Metrics& metrics) {
  const NarCache::Statistics& cache = metrics.nar_cache;
  out.single("nar_cache_files", "gauge", "Compressed NARs kept.", cache.entries);
  out.single("nar_cache_bytes", "gauge", "Bytes that they take.", cache.bytes);
  out.single("nar_cache_limit_bytes", "gauge", "Bytes that they may take.",
             metrics.nar_cache_limit);
  out.family("nar_cache_lookups_total", "counter", "Compressed NARs asked for.");
  out.sample(cache.hits, "result=\"hit\"");
  out.sample(cache.misses, "result=\"miss\"");
  out.single("nar_cache_evictions_total", "counter", "Files removed for want of room.",
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
  Writer out;
  out.family("build_info", "gauge", "The version, as a label.");
  out.sample(1, fmt::format("version=\"{}\"", NIXBUILD_VERSION));
  write_server(out, metrics.server, router);
  write_narinfos(out, metrics.narinfos);
  write_nars(out, metrics);
  out.single("database_failures_total", "counter", "Queries that the store's database refused.",
             metrics.database_failures);
  out.single("resident_memory_bytes", "gauge", "Memory of the process.", resident_bytes());
  out.single("open_descriptors", "gauge", "File descriptors of the process.", open_descriptors());
  return out.take();
}

}  // namespace nixbuild::cache
