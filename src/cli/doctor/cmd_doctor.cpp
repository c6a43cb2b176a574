#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/api_client.hpp"
#include "cli/command.hpp"
#include "cli/doctor/alias_check.hpp"
#include "cli/doctor/client_checks.hpp"
#include "cli/doctor/proxy_checks.hpp"
#include "cli/doctor/report.hpp"
#include "cli/doctor/server_checks.hpp"
#include "cli/machine/build_server.hpp"
#include "cli/machine/tailscale.hpp"
#include "cli/output.hpp"
#include "cli/setting_flags.hpp"
#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

struct Doctor {
  explicit Doctor(CommandSpec& command)
      : flags(command, configuration,
              {"client.server", "client.token_file", "state_dir", "cache.secret_key_file",
               "cache.nix_state_dir"}) {}

  config::Configuration configuration;
  SettingFlags flags;
  bool on_server = false;
  bool json = false;
};

constexpr std::string_view look_at_cache = "on the server: journalctl -u nixbuild-cache -n 50";

// An error message often has several lines: the first says what is wrong, the others what to do;
// without others, `otherwise` is used.
Check failed(std::string name, const Error& error, std::string_view otherwise) {
  const std::string_view text = error.what();
  const std::size_t end = text.find('\n');
  Check check{std::move(name), CheckState::failed, std::string(text.substr(0, end)), {}};
  std::string_view rest = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  while (!rest.empty()) {
    const std::size_t line_end = rest.find('\n');
    std::string_view line = rest.substr(0, line_end);
    rest.remove_prefix(line_end == std::string_view::npos ? rest.size() : line_end + 1);
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (!check.remedy.empty()) check.remedy += '\n';
    check.remedy += line;
  }
  if (check.remedy.empty()) check.remedy = otherwise;
  return check;
}

// Like failed(), for a server that may refuse the name that it is addressed by.
Check failed_to_ask(std::string name, const Error& error, std::string_view table,
                    const std::string& host, std::string_view otherwise) {
  const auto* refused = dynamic_cast<const net::RefusedError*>(&error);
  if (refused == nullptr || refused->status() != 403) {
    return failed(std::move(name), error, otherwise);
  }
  return failed(
      std::move(name), error,
      fmt::format("if '{}' is a name of the server: add it to allowed_host in [{}] of its "
                  "/etc/nixbuild/config.toml, then: systemctl reload nixbuild-{}",
                  host, table, table));
}

std::string home_directory() {
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return home;
  const passwd* entry = ::getpwuid(::geteuid());
  return entry != nullptr ? entry->pw_dir : "/root";
}

Check check_api(const config::ClientOptions& options) {
  try {
    ApiClient api(options);
    const auto health = api.get<protocol::Health>(protocol::path_of(protocol::Operation::health));
    Check check{"build API", CheckState::ok, {}, {}};
    check.message = fmt::format("{} answers", api.server().base_url());
    if (health.status != protocol::HealthState::healthy) {
      check.state = CheckState::warning;
      check.message +=
          fmt::format(", but reports problems: {}",
                      terminal::printable(fmt::format("{}", fmt::join(health.problems, "; "))));
      check.remedy = "on the server: nixbuild doctor";
    }
    return check;
  } catch (const Error& error) {
    return failed_to_ask("build API", error, "api", net::parse_server_address(options.server).host,
                         "on the server: journalctl -u nixbuild-api -n 50");
  }
}

// The facts about the cache; those that could not be determined are empty.
struct CacheFindings {
  std::optional<CacheInfo> info;
  std::optional<std::chrono::seconds> clock_lead;
  std::optional<CacheSample> sample;
  bool sampled = false;
};

CacheFindings ask_cache(const BuildServer& server, std::vector<Check>& checks) {
  CacheFindings found;
  BinaryCache cache(server.cache);
  try {
    found.info = cache.info();
    found.clock_lead = cache.clock_lead();
    checks.push_back({"binary cache", CheckState::ok, fmt::format("{} answers", cache.url()), {}});
  } catch (const Error& error) {
    checks.push_back(
        failed_to_ask("binary cache", error, "cache", server.cache.host, look_at_cache));
    return found;
  }
  try {
    found.sample = find_sample(cache, *found.info, found.info->keys,
                               sample_candidates(*found.info, server.store_paths));
    found.sampled = true;
  } catch (const Error& error) {
    checks.push_back(failed("signature", error, look_at_cache));
  }
  return found;
}

PublicKeys known_keys(const std::string& cache_url) {
  try {
    return known_keys_of_user().of(cache_url);
  } catch (const Error&) {
    return {};  // no remembered keys
  }
}

// Nothing if the server cannot be asked, which other checks report, or has no builds yet.
std::optional<Check> check_newest_record(const config::ClientOptions& options, const LocalNix& nix,
                                         const PublicKeys& served) {
  try {
    ApiClient api(options);
    const auto list = api.get<protocol::BuildList>(
        protocol::with_query(protocol::path_of(protocol::Operation::builds), {{"limit", "20"}}));
    const auto ended = std::find_if(list.builds.begin(), list.builds.end(), [](const auto& build) {
      return build.state == protocol::BuildState::success ||
             build.state == protocol::BuildState::failed;
    });
    if (ended == list.builds.end()) return std::nullopt;
    RecordKeys keys = record_keys(options.record_keys, nix.trusted_public_keys());
    // The server need not be its own client.
    if (options.record_keys.empty() && api.server().is_local()) keys.keys = served;
    std::optional<protocol::SignedRecord> record;
    std::string problem;
    try {
      record = api.get<protocol::SignedRecord>(
          protocol::path_of(protocol::Operation::build_record, fmt::format("{}", ended->id)));
    } catch (const net::RefusedError& error) {
      problem = error.what();
    }
    return check_record(keys, ended->id, record, problem);
  } catch (const Error&) {
    return std::nullopt;
  }
}

bool is_this_machine(const BuildServer& server) {
  char name[256] = {};
  return server.api.is_local() || (server.info && ::gethostname(name, sizeof name - 1) == 0 &&
                                   server.info->hostname == name);
}

Check no_repository() {
  return {"repositories", CheckState::warning, "the server has no repository to build",
          "add a [[repository]] with name and url to its /etc/nixbuild/config.toml, then: "
          "systemctl reload nixbuild-api"};
}

std::vector<Check> check_all(const Doctor& command) {
  std::vector<Check> checks;
  const config::ClientOptions options = reachable_options(command.configuration);
  const bool on_server = command.on_server || has_enabled_units();
  const BuildServer server = ask_build_server(options);
  const std::string cache_url = server.cache.base_url();
  if (!server.api.is_local()) {
    checks.push_back(
        check_tailscale(ask_tailscale(), server.api.host, default_auth_key_file(home_directory())));
    checks.push_back(check_name(server.api.host));
  }
  checks.push_back(check_api(options));
  if (server.info && server.info->repositories.empty()) checks.push_back(no_repository());
  const CacheFindings cache = ask_cache(server, checks);
  if (cache.info) checks.push_back(check_clock(cache.clock_lead));

  const PublicKeys served = cache.info ? cache.info->keys : PublicKeys{};
  std::optional<LocalNix> nix;
  bool asked_nix = false;
  try {
    nix = ask_nix();
    asked_nix = true;
  } catch (const Error& error) {
    checks.push_back(failed("Nix", error, "run nix config show and fix what it reports"));
  }
  // A server that is not configured as a client of its own cache is fine.
  const Role role =
      on_server && nix && is_this_machine(server) && !is_client(*nix, cache_url, served)
          ? Role::server
          : Role::client;
  if (asked_nix) checks.push_back(check_nix(nix, role));
  if (nix && role == Role::client) {
    // Nix may ask a proxy on this machine in the cache's place.
    const auto proxy =
        find_proxy(list_of(nix->settings, "substituters"), command.configuration.proxy);
    const bool is_behind_proxy = proxy && asks_cache(*proxy, cache_url);
    checks.push_back(check_substituter(*nix, is_behind_proxy ? proxy->url : cache_url, served));
    if (proxy) checks.push_back(check_proxy(*proxy, cache_url));
    if (cache.info) checks.push_back(check_public_key(*nix, served, known_keys(cache_url)));
  }
  if (nix) {
    if (cache.sampled) checks.push_back(check_signature(cache.sample, *cache.info, *nix, role));
    if (auto check = check_newest_record(options, *nix, served))
      checks.push_back(std::move(*check));
  }
  if (role == Role::client) {
    if (nix) {
      checks.push_back(check_fallback(*nix));
      checks.push_back(check_absent_paths(*nix));
    }
    if (auto check = check_aliases()) checks.push_back(std::move(*check));
  }
  const char* told = std::getenv("NIX_STORE_DIR");
  const std::string store = told != nullptr && *told != '\0' ? told : "/nix/store";
  if (const auto space = disk_space(store)) {
    checks.push_back(check_disk_space("disk space", *space));
  }
  if (on_server) {
    for (Check& check : check_server(find_server_setup(command.configuration), served))
      checks.push_back(std::move(check));
  }
  return checks;
}

ExitCode run_doctor(Doctor& command) {
  command.flags.load();
  const std::vector<Check> checks = check_all(command);
  if (command.json) {
    print_line(report_json(checks));
  } else {
    print_raw_text(report_lines(checks, terminal::has_colour(STDOUT_FILENO)));
    say(summary(checks));
  }
  return has_failed(checks) ? ExitCode::failed : ExitCode::done;
}

}  // namespace

void add_doctor_command(CommandSpec& program) {
  CommandSpec& command = program.add_command(
      "doctor", "Check the connection to the build server, its cache, and Nix's settings");
  command.footer(
      R"(Prints one line for each check: ✓ passed, ! a warning, ✗ failed, with what to do about it. With
--on-server, or if the server's units are enabled, it also checks this machine as a build server; run
it as root to check everything. Nothing is changed. The exit code is 1 if a check failed.

Examples:
  nixbuild doctor
  sudo nixbuild doctor --on-server
  nixbuild doctor --json | jq '.checks[] | select(.state != "ok")')");
  auto state = std::make_shared<Doctor>(command);
  command.flag("--on-server", state->on_server, "Check this machine as a build server, too");
  command.flag("--json", state->json, "Print the checks as JSON");
  find_option(command, "--secret-key-file")->help =
      "Check this file of the signing key (default: secret_key_file of the configuration, else "
      "/etc/nixbuild/cache-key if a server is installed, else cache-key in the state directory); "
      "repeatable";
  command.action([state] { return run_doctor(*state); });
}

}  // namespace nixbuild::cli
