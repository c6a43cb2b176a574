#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/bootstrap/generated_files.hpp"
#include "cli/bootstrap/git_repository.hpp"
#include "cli/bootstrap/next_steps.hpp"
#include "cli/bootstrap/placement.hpp"
#include "cli/bootstrap/server_key.hpp"
#include "cli/command.hpp"
#include "cli/machine/build_server.hpp"
#include "cli/machine/nix_settings.hpp"
#include "cli/machine/short_command.hpp"
#include "cli/machine/tailscale.hpp"
#include "cli/output.hpp"
#include "cli/setting_flags.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/shell.hpp"
#include "common/base/terminal.hpp"
#include "common/net/http_client.hpp"
#include "common/net/server_address.hpp"
#include "common/nix/expression.hpp"

namespace nixbuild::cli {
namespace {

namespace fs = std::filesystem;

// For a server that may be absent.
constexpr std::chrono::seconds short_timeout{2};
constexpr const char* default_bootstrap_url = "github:Bullish-Design/atuin-bootstrap";
constexpr const char* default_terminal_url = "github:Bullish-Design/nix-terminal";

struct Bootstrap {
  explicit Bootstrap(CommandSpec& command)
      : flags(command, configuration, {"client.server", "client.token_file"}) {}

  config::Configuration configuration;
  SettingFlags flags;
  HomePlan plan;
  std::string directory = ".";
  bool dry_run = false;
  bool yes = false;
  bool force = false;
  bool run_switch = false;
};

// --- this machine ---

std::string host_name() {
  std::array<char, 256> buffer{};  // POSIX: at most 255
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0 || buffer.front() == '\0') {
    throw UsageError("cannot read this machine's host name; use --host");
  }
  return buffer.data();
}

std::string user_name() {
  if (const passwd* entry = ::getpwuid(::geteuid())) return entry->pw_name;
  throw UsageError(
      fmt::format("user {} has no name in the user database; use --user", ::geteuid()));
}

std::string home_directory(const std::string& user, const std::string& system) {
  const passwd* own = ::getpwuid(::geteuid());
  const char* home = std::getenv("HOME");
  if (own != nullptr && user == own->pw_name && home != nullptr && *home == '/') return home;
  if (const passwd* entry = ::getpwnam(user.c_str())) return entry->pw_dir;
  // A user of another machine.
  const bool is_darwin = system.ends_with("-darwin");
  if (user == "root") return is_darwin ? "/var/root" : "/root";
  return (is_darwin ? "/Users/" : "/home/") + user;
}

// --- the options ---

void check_word(std::string_view flag, const std::string& value) {
  const bool has_control = std::any_of(value.begin(), value.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (value.empty() || has_control) {
    throw UsageError(fmt::format("{}: expected a name without control characters", flag));
  }
}

void check_system(const std::string& system) {
  const auto is_part = [](std::string_view part) {
    return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
  };
  const std::size_t dash = system.find('-');
  if (dash == std::string::npos || !is_part(std::string_view(system).substr(0, dash)) ||
      !is_part(std::string_view(system).substr(dash + 1))) {
    throw UsageError(fmt::format(
        "--system: '{}' is not a Nix system such as x86_64-linux or aarch64-linux", system));
  }
}

// Makes paths absolute: a flake resolves relative ones in its own directory.
void complete_flake_reference(std::string_view flag, std::string& reference) {
  check_word(flag, reference);
  if (reference == "." || reference == ".." || reference.starts_with("./") ||
      reference.starts_with("../")) {
    reference = fs::absolute(reference).lexically_normal().string();
    while (reference.size() > 1 && reference.ends_with('/'))
      reference.pop_back();
  }
}

void complete_plan(Bootstrap& command) {
  HomePlan& plan = command.plan;
  if (plan.host.empty()) plan.host = host_name();
  if (plan.user.empty()) plan.user = user_name();
  if (plan.system.empty()) plan.system = nix::this_system();
  check_word("--host", plan.host);
  check_word("--user", plan.user);
  check_system(plan.system);
  complete_flake_reference("--bootstrap-url", plan.bootstrap_url);
  complete_flake_reference("--terminal-url", plan.terminal_url);
  plan.home_directory = home_directory(plan.user, plan.system);
  plan.auth_key_file = default_auth_key_file(plan.home_directory).string();
  plan.server = command.configuration.client.server;
  fs::path directory = fs::absolute(command.directory).lexically_normal();
  if (!directory.has_filename() && directory.has_relative_path())
    directory = directory.parent_path();
  // Without symbolic links, as Nix and git see it.
  std::error_code error;
  const fs::path real = fs::weakly_canonical(directory, error);
  plan.directory = error ? directory : real;
  plan.in_git = repository_of(plan.directory).has_value();
}

// --- the steps ---

PublicKeys keys_known_before(const HomePlan& plan, const std::string& cache_url) {
  PublicKeys known;
  try {
    known = known_keys_of_user().of(cache_url);
  } catch (const UsageError&) {
    // Without a state directory, no key has been recorded.
  }
  // If the record was lost, use what an earlier run wrote here for this server.
  const std::string written = read_file(plan.directory / secrets_path(plan)).value_or("");
  if (written.find(nix::nix_string(plan.server)) != std::string::npos) {
    for (nix::PublicKey& key : keys_in_nix_file(written)) {
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        known.push_back(std::move(key));
      }
    }
  }
  return known;
}

nix::PublicKey given_key(const HomePlan& plan) {
  try {
    return nix::PublicKey::parse(plan.public_key);
  } catch (const FormatError& error) {
    throw UsageError(fmt::format("--public-key: {}", error.what()));
  }
}

// The server is not needed, but if it answers, it says where its cache is.
ServerKey use_given_key(const Bootstrap& command) {
  const nix::PublicKey key = given_key(command.plan);
  const BuildServer server = ask_build_server(command.configuration.client, short_timeout);
  const std::string url = server.cache.base_url();
  if (!server.info) {
    say(fmt::format("! {}\n! assuming that its cache is {}", server.problem, url));
  }
  say(fmt::format("✓ Trusting the given key: {}  {}", key.fingerprint(), key.name()));
  return ServerKey{key, {key}, url, {}};
}

// Whoever answers under the server's name has shown this key; from here on it decides what this
// machine runs.
void confirm_new_key(const ServerKey& key) {
  if (!terminal::is_terminal(STDIN_FILENO) || !terminal::is_terminal(STDERR_FILENO)) {
    throw UsageError(fmt::format(
        "this machine has not seen the key {} before; compare its fingerprint with `nixbuild keys "
        "show` on the server, then pass --public-key {} or --yes",
        key.key.name(), shell_word(key.key.to_string())));
  }
  say("! This machine has not seen this key before. Compare the fingerprint above with what");
  say("  `nixbuild keys show` prints on the server.");
  say_raw("Trust this key? [y/N] ");
  std::string answer;
  std::getline(std::cin, answer);
  if (answer != "y" && answer != "Y" && answer != "yes") {
    throw Error("the key is not trusted; nothing was written");
  }
}

ServerKey find_key(Bootstrap& command) {
  const HomePlan& plan = command.plan;
  const net::ServerAddress server = net::parse_server_address(plan.server);
  Check tailscale{"Tailscale", CheckState::ok, {}, {}};
  if (!server.is_local()) {
    tailscale = check_tailscale(ask_tailscale(), server.host, plan.auth_key_file);
    say(render(tailscale));
  }
  if (!plan.public_key.empty()) return use_given_key(command);
  try {
    return fetch_server_key(command.configuration.client, [&](const std::string& cache_url) {
      return keys_known_before(plan, cache_url);
    });
  } catch (const net::UnreachableError& error) {
    std::string message = error.what();
    if (tailscale.state != CheckState::ok) {
      message += fmt::format("\n  Tailscale (see above): {}", tailscale.message);
    }
    message += "\n  to continue without the server, pass its key with --public-key";
    throw net::UnreachableError(message);
  }
}

void refuse_conflicts(const HomePlan& plan, const std::vector<PlannedFile>& files) {
  std::vector<std::string> names;
  for (const PlannedFile& file : files) {
    if (file.placement == Placement::conflict) names.push_back(file.file.path.string());
  }
  if (names.empty()) return;
  throw Error(fmt::format(
      "{} already has other versions of these files: {}. Nothing was changed; use --force to "
      "replace them and keep a backup of each, or --dir to use another directory",
      plan.directory.string(), fmt::join(names, ", ")));
}

void announce(const std::vector<PlannedFile>& files) {
  for (const PlannedFile& file : files) {
    const std::string name = file.file.path.string();
    switch (file.placement) {
      case Placement::create:
        say(fmt::format("==> Creating {}...", name));
        break;
      case Placement::keep:
        say(fmt::format("==> Keeping {}, which is up to date", name));
        break;
      case Placement::extend:
        say(fmt::format("==> Adding to {}...", name));
        break;
      case Placement::conflict:
        say(fmt::format("==> Replacing {}...", name));
        break;
    }
  }
}

void remember_key(const ServerKey& key) {
  try {
    known_keys_of_user().remember(key.cache_url, key.all);
  } catch (const Error& error) {
    say(fmt::format("! Cannot record the key: {}", error.what()));
  }
}

// The home directory on this machine that home-manager will write to.
fs::path home_here(const HomePlan& plan) {
  std::error_code error;
  const char* home = std::getenv("HOME");
  if (home == nullptr || fs::is_directory(plan.home_directory, error)) return plan.home_directory;
  return home;
}

// home-manager stops at files that it did not create, unless it is told how to rename them.
void move_files_aside(const HomePlan& plan, SwitchConditions& conditions) {
  const fs::path home = home_here(plan);
  const std::vector<fs::path> files = files_in_the_way(home, managed_files(plan));
  if (files.empty()) return;
  conditions.backup_extension = backup_extension(home, files);
  std::string list;
  for (const fs::path& file : files)
    list += fmt::format("\n    ~/{}", file.string());
  say(
      fmt::format("! home-manager does not replace files that it did not create. With -b {0} it "
                  "renames each to "
                  "FILE.{0};\n  copy to home.nix what you need of them:{1}",
                  conditions.backup_extension, list));
}

// Warns about what this machine lacks, and returns what is left to do.
NextSteps steps_after(const Bootstrap& command, const ServerKey& key,
                      const std::vector<PlannedFile>& files, const std::optional<LocalNix>& nix) {
  const HomePlan& plan = command.plan;
  SwitchConditions conditions;
  conditions.configuration = configuration_name(plan);
  conditions.in_git = plan.in_git;
  for (const PlannedFile& file : files) {
    if (file.file.path != secrets_path(plan)) {
      conditions.to_add.push_back(file.file.path.string());
    }
  }
  conditions.has_home_manager = program_in_path("home-manager").has_value();
  conditions.cache_url = key.cache_url;
  conditions.public_key = plan.public_key;
  if (!program_in_path("nix")) {
    say("! The nix command is missing; install Nix first: https://nixos.org/download");
  } else if (nix) {
    conditions.has_flakes = nix->has_flakes();
    conditions.may_substitute = nix->is_trusted;
    if (const auto lines = lines_for_daemon(plan, key.cache_url, *nix)) {
      say(fmt::format(
          "! The Nix daemon ignores substituters of untrusted users. To download what the server "
          "has built, add these lines to /etc/nix/nix.conf as root and restart nix-daemon:\n{}",
          *lines));
    }
  }
  move_files_aside(plan, conditions);
  std::error_code error;
  const bool is_elsewhere = !fs::equivalent(plan.directory, fs::current_path(), error) || error;
  return next_steps(plan.directory, is_elsewhere, conditions);
}

ExitCode run_bootstrap(Bootstrap& command) {
  command.flags.load();
  complete_plan(command);
  const HomePlan& plan = command.plan;
  // Find out what cannot work before anything is requested or written.
  static_cast<void>(generated_files(plan));
  if (command.run_switch && !program_in_path("nix")) {
    throw Error("--switch needs the nix command; install Nix first: https://nixos.org/download");
  }
  if (is_tracked(plan.directory, secrets_path(plan))) {
    throw Error(fmt::format(
        "git tracks {}, so it would be published; remove it from git with `git rm --cached {}`",
        (plan.directory / secrets_path(plan)).string(), secrets_path(plan).string()));
  }

  say("==> Bootstrapping new machine");
  std::optional<LocalNix> nix;
  try {
    nix = ask_nix();
  } catch (const Error& error) {
    say(fmt::format("! {}", error.what()));  // the files can be written all the same
  }
  const bool is_given = !command.plan.public_key.empty();
  const ServerKey key = find_key(command);
  if (!is_given && !key.is_known && !command.yes && !command.dry_run) confirm_new_key(key);
  command.plan.public_key = key.key.to_string();
  if (key.cache_url != net::default_cache_url(net::parse_server_address(plan.server))) {
    command.plan.cache_url = key.cache_url;
  }
  // Locked before the comparison, so that no other bootstrap writes in between.
  std::optional<TargetDirectory> target;
  if (!command.dry_run) target.emplace(plan.directory);
  const std::vector<PlannedFile> files = plan_placement(plan.directory, generated_files(plan));
  if (!command.force) refuse_conflicts(plan, files);
  if (command.dry_run) {
    for (const PlannedFile& file : files) {
      if (file.placement == Placement::keep) continue;
      print(
          fmt::format("--- {}\n{}", (plan.directory / file.file.path).string(), file.file.content));
    }
    say("✓ Nothing was written (--dry-run)");
    return ExitCode::done;
  }
  announce(files);
  for (const fs::path& backup : target->place(files))
    say(fmt::format("    the previous file is now {}", backup.string()));
  remember_key(key);
  const NextSteps steps = steps_after(command, key, files, nix);
  say("✓ Bootstrap complete");
  if (command.run_switch) {
    run_steps(steps);
    say("✓ Switched");
  } else {
    say("Next:");
    print(render(steps));
  }
  return ExitCode::done;
}

}  // namespace

void add_bootstrap_command(CommandSpec& program) {
  CommandSpec& command =
      program.add_command("bootstrap", "Set up a fresh machine as a client of the build server");
  command.footer(
      R"(Asks the build server for its cache's public key, verifies a signature with it, shows its
fingerprint, and writes a home-manager flake for this machine: secrets.nix (which git ignores),
flake.nix, home.nix and .gitignore. Existing files are only replaced with --force. The commands to run
next are printed on standard output; they tell home-manager to rename files that it would otherwise
refuse to replace.

The client template brings the binary cache and the commands alone. The others add Atuin, Syncthing,
Tailscale and a terminal.

Also called bootstrap-new-machine.

Examples:
  nixbuild bootstrap --template laptop
  nixbuild bootstrap --dir ~/.config/home-manager --switch
  nixbuild bootstrap --multi-host --host desktop --template desktop
  nixbuild bootstrap --template client --public-key build-server-1:…)");
  auto state = std::make_shared<Bootstrap>(command);
  HomePlan& plan = state->plan;
  plan.bootstrap_url = default_bootstrap_url;
  plan.terminal_url = default_terminal_url;
  command.option("--template laptop|desktop|server|client", plan.profile,
                 "Kind of machine (default: laptop)");
  command.option("--dir DIR", state->directory,
                 "Write the files to DIR (default: the working directory)");
  command.option("--host NAME", plan.host, "Name of the machine (default: this machine's)");
  command.option("--user NAME", plan.user, "User whose home is configured (default: you)");
  command.option("--system SYSTEM", plan.system,
                 "Nix system, such as x86_64-linux (default: this machine's)");
  command.option("--public-key KEY", plan.public_key,
                 "Trust this key, NAME:BASE64, instead of asking the server for it");
  command.option("--bootstrap-url FLAKE", plan.bootstrap_url,
                 fmt::format("Flake with the modules (default: {})", default_bootstrap_url));
  command.option(
      "--terminal-url FLAKE", plan.terminal_url,
      fmt::format("Flake with the terminal's modules (default: {})", default_terminal_url));
  command.flag("--multi-host", plan.multi_host,
               "Write a flake for several machines: hosts/NAME/ and secrets/NAME.nix");
  command.flag("--yes", state->yes, "Trust the server's key without asking if it is new here");
  command.flag("--dry-run", state->dry_run, "Print the files instead of writing them");
  command.flag("--force", state->force, "Replace files that differ, keeping a backup of each");
  command.flag("--switch", state->run_switch, "Also run the commands that would be printed");
  command.action([state] { return run_bootstrap(*state); });
}

}  // namespace nixbuild::cli
