#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.hpp"
#include "cli/machine/local_proxy.hpp"
#include "cli/output.hpp"
#include "cli/progress_view.hpp"
#include "cli/setting_flags.hpp"
#include "cli/table.hpp"
#include "cli/times.hpp"
#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/config/configuration.hpp"

namespace nixbuild::cli {
namespace {

using terminal::printable;

struct ShowProxy {
  explicit ShowProxy(CommandSpec& command) : flags(command, configuration, {}) {}

  config::Configuration configuration;
  SettingFlags flags;
  bool json = false;
};

std::string render(const std::string& address, const ProxyStatus& status) {
  const TimeStyle style = time_style(STDOUT_FILENO);
  const std::size_t columns = terminal::width(STDOUT_FILENO);
  std::string out = fmt::format("proxy     {}, nixbuild {}\n", address, printable(status.version));
  out += fmt::format("narinfos  {} from memory, {} from disk, {} from caches, {} absent\n",
                     status.from_memory, status.from_disk, status.from_upstreams, status.absent);
  out += fmt::format("NARs      {} sent, {} of them from disk, {} resumed after a failure\n",
                     status.nars_sent, status.nars_from_disk, status.nars_continued);
  if (status.disk_limit > 0) {
    out += fmt::format("disk      {} NARs, {} of {}\n", status.disk_nars,
                       format_bytes(status.disk_bytes), format_bytes(status.disk_limit));
  }
  out += '\n';
  Table caches({"CACHE", "STATE", "SINCE", "PATHS", "RECEIVED", "LAST ERROR"});
  for (const ProxyStatus::Upstream& upstream : status.upstreams) {
    caches.add({printable(upstream.url), printable(upstream.state),
                upstream.since ? show_age(*upstream.since, style) : "unknown",
                fmt::format("{}", upstream.narinfos_found), format_bytes(upstream.nar_bytes),
                printable(upstream.last_error)});
  }
  out += caches.render(columns);
  if (status.downloads.empty()) return out;
  Table downloads({"DOWNLOAD", "FROM", "RECEIVED", "SIZE"});
  for (const ProxyStatus::Download& download : status.downloads) {
    downloads.add({printable(download.path), printable(download.upstream),
                   format_bytes(download.bytes),
                   download.size ? format_bytes(*download.size) : "unknown"});
  }
  return out + '\n' + downloads.render(columns);
}

ExitCode show(ShowProxy& command) {
  command.flags.load();
  config::ProxyOptions options = command.configuration.proxy;
  options.tailscale_interface = command.configuration.tailscale_interface;
  const std::string address = proxy_address(options);
  const std::string text = ask_proxy(address);
  ProxyStatus status;
  try {
    status = parse_proxy_status(text);
  } catch (const FormatError& error) {
    throw Error(fmt::format("what answers at {} is not nixbuild serve-proxy of this version: {}",
                            address, error.what()));
  }
  if (command.json) {
    print_line(
        nlohmann::json::parse(text).dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    print_text(render(address, status));
  }
  return ExitCode::done;
}

}  // namespace

void add_proxy_command(CommandSpec& program) {
  CommandSpec& command =
      program.add_command("proxy", "Show which caches this machine's proxy can reach");
  command.footer(
      R"(Asks the proxy at the first address of listen in [proxy] (default: 127.0.0.1:5001), which
nixbuild serve-proxy serves. A cache is up, away or unknown; the proxy asks only those that are up.

Examples:
  nixbuild proxy
  nixbuild proxy --json | jq -r '.upstreams[] | select(.state == "away").url')");
  auto state = std::make_shared<ShowProxy>(command);
  command.flag("--json", state->json, "Print what the proxy's /health returns");
  command.action([state] { return show(*state); });
}

}  // namespace nixbuild::cli
