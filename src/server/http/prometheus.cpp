#include "server/http/prometheus.hpp"

#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "common/base/files.hpp"
#include "common/base/version.hpp"

namespace nixbuild::http {
namespace {

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
  return count > 0 ? count - 1 : 0;  // without the descriptor of the directory itself
}

}  // namespace

void PrometheusText::process() {
  family("build_info", "gauge", "The version, as a label.");
  sample(1, fmt::format("version=\"{}\"", NIXBUILD_VERSION));
  single("resident_memory_bytes", "gauge", "Memory of the process.", resident_bytes());
  single("open_descriptors", "gauge", "File descriptors of the process.", open_descriptors());
}

void PrometheusText::server(const ServerStatistics& statistics, const Router& router) {
  family("responses_total", "counter", "Responses by route and class of status.");
  const auto add = [&](std::string_view route, const std::array<std::uint64_t, 6>& counts) {
    for (std::size_t status = 1; status < counts.size(); ++status) {
      if (counts[status] == 0) continue;
      sample(counts[status], fmt::format("route=\"{}\",status=\"{}xx\"", route, status));
    }
  };
  for (std::size_t route = 0; route < statistics.responses.size(); ++route) {
    add(router.pattern(route), statistics.responses[route]);
  }
  add("none", statistics.unmatched);
  single("sent_bytes_total", "counter", "Bytes of bodies sent.", statistics.bytes_sent);
  single("connections_total", "counter", "Connections accepted.", statistics.connections_accepted);
  single("connections", "gauge", "Connections open.", statistics.connections_open);
  single("requests", "gauge", "Requests being answered.", statistics.requests_in_flight);
  single("timeouts_total", "counter", "Connections closed because the client was too slow.",
         statistics.timeouts);
}

}  // namespace nixbuild::http
