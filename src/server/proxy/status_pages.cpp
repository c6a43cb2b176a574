#include "server/proxy/status_pages.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "common/base/time.hpp"
#include "common/base/version.hpp"
#include "server/http/html.hpp"

namespace nixbuild::proxy {
namespace {

using http::escape_html;

constexpr std::string_view style = R"(
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem 1rem .3rem 0; border-bottom: 1px solid #8886; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
)";

std::string since_of(const Upstream& upstream) {
  return format_time(std::chrono::floor<std::chrono::seconds>(upstream.since()));
}

bool is_any_up(const Upstreams& upstreams) {
  return std::any_of(upstreams.all().begin(), upstreams.all().end(),
                     [](const auto& upstream) { return upstream->is_up(); });
}

std::string mebibytes(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

void add_upstreams(std::string& page, const Upstreams& upstreams) {
  page +=
      "<div><table>\n<tr><th>Cache</th><th>State</th><th>Since</th>"
      "<th class=\"number\">Paths found</th><th class=\"number\">Received</th>"
      "<th>Last error</th></tr>\n";
  for (const auto& upstream : upstreams.all()) {
    page += fmt::format(
        "<tr><td>{}</td><td>{}</td><td><time>{}</time></td><td class=\"number\">{}</td>"
        "<td class=\"number\">{}</td><td>{}</td></tr>\n",
        escape_html(upstream->url()), name_of(upstream->state()), since_of(*upstream),
        upstream->counters.narinfos_found, mebibytes(upstream->counters.nar_bytes),
        escape_html(upstream->last_error()));
  }
  page += "</table></div>\n";
}

void add_downloads(std::string& page, const std::vector<Nars::Progress>& downloads) {
  page += "<h2>Downloads</h2>\n";
  if (downloads.empty()) {
    page += "<p>None at the moment.</p>\n";
    return;
  }
  page +=
      "<div><table>\n<tr><th>Path</th><th>From</th><th class=\"number\">Received</th>"
      "<th class=\"number\">Size</th></tr>\n";
  for (const Nars::Progress& download : downloads) {
    page += fmt::format(
        "<tr><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>\n",
        escape_html(download.path), escape_html(download.upstream), mebibytes(download.position),
        download.size ? mebibytes(*download.size) : "unknown");
  }
  page += "</table></div>\n";
}

void add_requests(std::string& page, const Narinfos::Statistics& narinfos,
                  const Nars::Statistics& nars) {
  const std::uint64_t found = narinfos.from_memory + narinfos.from_disk + narinfos.from_upstreams;
  const std::uint64_t all = found + narinfos.absent;
  page += "<h2>Requests since the start</h2>\n<ul>\n";
  page += fmt::format("<li>{} narinfos", all);
  if (all > 0) {
    page += fmt::format(
        ": {} found ({} %), {} of them in memory, {} on disk while their cache was away; {} absent",
        found, found * 100 / all, narinfos.from_memory, narinfos.from_disk, narinfos.absent);
  }
  page += fmt::format(
      "</li>\n<li>{} NARs sent, {} of them from disk; {} downloads resumed after a failure, {} "
      "cut, "
      "{} with a wrong hash</li>\n</ul>\n",
      nars.sent, nars.from_disk, nars.continued, nars.cut, nars.mismatches);
}

void add_disk(std::string& page, const DiskCache& disk) {
  if (!disk.is_enabled()) return;
  const narcache::NarCache::Statistics nars = disk.nar_statistics();
  const narcache::NarCache::Statistics narinfos = disk.narinfo_statistics();
  page += fmt::format("<h2>On disk</h2>\n<p>{} NARs and {} narinfos: {} of {}.</p>\n", nars.entries,
                      narinfos.entries, mebibytes(nars.bytes + narinfos.bytes),
                      mebibytes(disk.limit()));
}

}  // namespace

// The status is 200 either way: whether the proxy works is one question, whether its upstreams do
// is another.
std::string render_health(const StatusParts& parts, const nix::StoreDir& store_dir) {
  nlohmann::json upstreams = nlohmann::json::array();
  for (const auto& upstream : parts.upstreams.all()) {
    const Upstream::Counters& counters = upstream->counters;
    upstreams.push_back({{"url", upstream->url()},
                         {"state", name_of(upstream->state())},
                         {"since", since_of(*upstream)},
                         {"last_error", upstream->last_error()},
                         {"narinfos_found", counters.narinfos_found},
                         {"narinfos_absent", counters.narinfos_absent},
                         {"failures", counters.failures},
                         {"nar_bytes", counters.nar_bytes}});
  }
  nlohmann::json downloads = nlohmann::json::array();
  for (const Nars::Progress& download : parts.nars.running()) {
    nlohmann::json size;  // null: unknown
    if (download.size) size = *download.size;
    downloads.push_back({{"path", download.path},
                         {"upstream", download.upstream},
                         {"bytes", download.position},
                         {"size", size}});
  }
  const Narinfos::Statistics narinfos = parts.narinfos.statistics();
  const Nars::Statistics nars = parts.nars.statistics();
  const narcache::NarCache::Statistics disk_nars = parts.disk.nar_statistics();
  const narcache::NarCache::Statistics disk_narinfos = parts.disk.narinfo_statistics();
  const nlohmann::json json = {{"status", is_any_up(parts.upstreams) ? "healthy" : "degraded"},
                               {"upstreams", upstreams},
                               {"narinfos",
                                {{"from_memory", narinfos.from_memory},
                                 {"from_disk", narinfos.from_disk},
                                 {"from_upstreams", narinfos.from_upstreams},
                                 {"absent", narinfos.absent}}},
                               {"nars",
                                {{"sent", nars.sent},
                                 {"from_disk", nars.from_disk},
                                 {"continued", nars.continued},
                                 {"mismatched", nars.mismatches},
                                 {"cut", nars.cut}}},
                               {"downloads", downloads},
                               {"disk",
                                {{"limit", parts.disk.limit()},
                                 {"bytes", disk_nars.bytes + disk_narinfos.bytes},
                                 {"nars", disk_nars.entries},
                                 {"narinfos", disk_narinfos.entries}}},
                               {"store_dir", store_dir.path()},
                               {"version", NIXBUILD_VERSION}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string render_status_page(const StatusParts& parts) {
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"refresh\" content=\"10\">\n"
      "<title>Nix cache proxy</title>\n<style>{}</style>\n</head>\n<body>\n"
      "<h1>Nix cache proxy</h1>\n"
      "<p>This machine's Nix asks this proxy, which asks these caches, in this order. A cache that "
      "is away is not asked.</p>\n",
      style);
  add_upstreams(page, parts.upstreams);
  add_downloads(page, parts.nars.running());
  add_disk(page, parts.disk);
  add_requests(page, parts.narinfos.statistics(), parts.nars.statistics());
  page += fmt::format(
      "<p><a href=\"/nix-cache-info\">nix-cache-info</a> · <a href=\"/health\">health</a> · "
      "<a href=\"/metrics\">metrics</a> · nixbuild {}</p>\n</body>\n</html>\n",
      NIXBUILD_VERSION);
  return page;
}

}  // namespace nixbuild::proxy
