#include "cli/update/built_update.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cli/api_client.hpp"
#include "cli/machine/build_record.hpp"
#include "cli/output.hpp"
#include "cli/update/followed_builds.hpp"
#include "cli/update/generations.hpp"
#include "cli/update/rebuild.hpp"
#include "cli/update/server_builds.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/shell.hpp"
#include "common/base/terminal.hpp"
#include "common/base/unique_fd.hpp"
#include "common/config/load.hpp"
#include "common/config/state_dir.hpp"
#include "common/nix/attribute_path.hpp"
#include "common/nix/store_path.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view nixos_prefix = "nixosConfigurations.";
constexpr std::string_view home_prefix = "homeConfigurations.";

// How many names of units are shown.
constexpr std::size_t most_units = 20;

std::string proposed_target(const Identity& identity) {
  const std::string host = identity.host.substr(0, identity.host.find('.'));
  return identity.is_nixos ? nix::attribute_name({"nixosConfigurations", host})
                           : nix::attribute_name(
                                 {"homeConfigurations", fmt::format("{}@{}", identity.user, host)});
}

std::string name_of(const PinnedTarget& pin) {
  return fmt::format("{} of {}{}", pin.target, pin.repository,
                     pin.branch.empty() ? "" : fmt::format(", branch {}", pin.branch));
}

// The number of the newest build to follow, according to the server, which is not trusted with it:
// the record decides.
std::optional<std::int64_t> newest_success(ApiClient& api, const PinnedTarget& pin) {
  for (const protocol::Build& build :
       list_builds(api, pin.repository, pin.target, "success", 100)) {
    if (build.branch.value_or("") == pin.branch) return build.id;
  }
  return std::nullopt;
}

// Says if a newer build has ended without the target.
void say_what_failed(ApiClient& api, const PinnedTarget& pin, std::int64_t followed) {
  for (const protocol::Build& build : list_builds(api, pin.repository, pin.target, "", 20)) {
    if (build.id <= followed) return;
    if (!build.finish || build.branch.value_or("") != pin.branch) continue;
    say(fmt::format("! {} did not succeed in build {}; `nixbuild builds {}` says why", pin.target,
                    build.id, build.id));
    return;
  }
}

[[noreturn]] void refuse(const protocol::BuildRecord& record, const PinnedTarget& pin,
                         const std::string& what) {
  throw net::RefusedError(fmt::format("build {} is not followed: {}; this machine follows {}",
                                      record.build, terminal::printable(what), name_of(pin)));
}

// The store path of the target's output in a verified record. Throws RefusedError if the record is
// of anything else than what is pinned.
std::string output_of(const protocol::BuildRecord& record, const PinnedTarget& pin) {
  if (record.repository != pin.repository) refuse(record, pin, "it is of " + record.repository);
  if (record.branch.value_or("") != pin.branch) {
    refuse(record, pin,
           record.branch ? fmt::format("it is of branch '{}'", *record.branch)
                         : std::string("it is of the remote's default branch"));
  }
  const nix::StoreDir store(config::process_environment("NIX_STORE_DIR").value_or("/nix/store"));
  for (const protocol::RecordedTarget& target : record.targets) {
    if (target.name != pin.target) continue;
    for (const protocol::RecordedOutput& output : target.outputs) {
      if (output.name != "out") continue;
      const auto path = store.parse(output.path);
      if (!path || path->is_derivation()) {
        refuse(record, pin, fmt::format("'{}' is no path of {}", output.path, store.path()));
      }
      return store.print(*path);
    }
  }
  refuse(record, pin, "it has not made that target");
}

// The state of switching, and a lock that other runs respect.
class Switch {
 public:
  explicit Switch(const fs::path& state) : directory_(state / "system-update") {
    std::error_code error;
    fs::create_directories(directory_, error);
    if (error) throw SystemError(error.value(), fmt::format("making {}", directory_.string()));
    const fs::path lock = directory_ / "built.lock";
    held_.reset(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!held_) throw SystemError(errno, fmt::format("opening {}", lock.string()));
    if (::flock(held_.get(), LOCK_EX | LOCK_NB) == 0) return;
    if (errno != EWOULDBLOCK) throw SystemError(errno, fmt::format("locking {}", lock.string()));
    throw Error("another system-update --built is running");
  }

  // Keeps the path from garbage collection until the profile does.
  fs::path gc_root() const { return directory_ / "built-result"; }

  // What an earlier run began to switch to and did not finish, as store path; empty if nothing.
  static std::string unfinished(const fs::path& state) {
    return read_file(state / "system-update" / "built-unfinished").value_or("");
  }
  void begin(const std::string& path) const { write_file_atomic(journal(), path, 0600); }
  void end() const {
    if (::unlink(journal().c_str()) != 0 && errno != ENOENT) {
      throw SystemError(errno, fmt::format("removing {}", journal().string()));
    }
    std::error_code ignored;
    fs::remove(gc_root(), ignored);
  }

 private:
  fs::path journal() const { return directory_ / "built-unfinished"; }

  fs::path directory_;
  UniqueFd held_;
};

// Whether the path is what this machine runs, or with `boot` what it will.
bool is_current(const PinnedTarget& pin, const Identity& identity, const std::string& path,
                bool boot) {
  if (current_generation(pin.kind, identity.user) != path) return false;
  if (pin.kind == ConfigurationKind::home || boot) return true;
  std::error_code error;
  const fs::path running = fs::canonical("/run/current-system", error);
  return error || running == path;
}

// Has Nix substitute the path, which prints the size of the download and checks signatures. Nothing
// is built.
void realise(const Runner& runner, const std::string& path, const std::optional<fs::path>& root) {
  std::vector<std::string> words = {"nix-store", "--realise"};
  if (root) words.insert(words.end(), {"--add-root", root->string(), "--indirect"});
  const auto options = runner.option_arguments();
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {"--", path});
  const int code = runner.foreground(words, {});
  if (code == 0) return;
  throw Error(fmt::format(
      "cannot fetch {}: nix-store ended with exit code {}; the server's cache has to be among "
      "Nix's substituters and its key in trusted-public-keys (nixbuild doctor)",
      path, code));
}

// Units whose files differ between two generations.
std::vector<std::string> changed_units(const fs::path& before, const fs::path& after) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entries(after, error); !error && entries != fs::directory_iterator();
       entries.increment(error)) {
    const fs::path name = entries->path().filename();
    const std::string extension = name.extension().string();
    if (extension != ".service" && extension != ".socket" && extension != ".timer") continue;
    std::error_code missing;
    const fs::path now = fs::canonical(after / name, missing);
    const fs::path former = fs::canonical(before / name, missing);
    if (!missing && now != former) names.push_back(terminal::printable(name.string()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

void show_system_changes(ConfigurationKind kind, const fs::path& before, const fs::path& after) {
  if (kind == ConfigurationKind::nixos) {
    std::error_code error;
    const fs::path former = fs::canonical(before / "kernel", error);
    const fs::path now = fs::canonical(after / "kernel", error);
    if (!error && former != now) {
      say(fmt::format("! the kernel changes: {}, from the next boot on",
                      terminal::printable(now.parent_path().filename().string())));
    }
  }
  const char* units =
      kind == ConfigurationKind::nixos ? "etc/systemd/system" : "home-files/.config/systemd/user";
  std::vector<std::string> names = changed_units(before / units, after / units);
  if (names.empty()) return;
  const std::size_t count = names.size();
  if (count > most_units) names.resize(most_units);
  say(fmt::format("  units that change: {}{}", fmt::join(names, ", "),
                  count > most_units ? fmt::format(" and {} more", count - most_units) : ""));
}

void show_difference(const Runner& runner, const PinnedTarget& pin,
                     const std::optional<fs::path>& before, const std::string& after) {
  const Closure now = closure_of(runner, after);
  const Closure former = before ? closure_of(runner, *before) : Closure();
  print_text(render(compare(former, now), former, now, terminal::width(STDOUT_FILENO)));
  if (before) show_system_changes(pin.kind, *before, after);
}

// Only on a terminal; elsewhere, running the command is the consent.
bool is_wanted(bool yes) {
  if (yes || !terminal::is_terminal(STDIN_FILENO) || !terminal::is_terminal(STDERR_FILENO)) {
    return true;
  }
  say_raw("Switch to it? [y/N] ");
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

int run_as(const Runner& runner, std::vector<std::string>& words, bool as_root) {
  if (as_root) words.insert(words.begin(), "sudo");
  say(fmt::format("  {}", shell_command(words)));
  return runner.foreground(words, {});
}

// Throws Error if the command fails.
void activate(const Runner& runner, std::vector<std::string> words, bool as_root) {
  const int code = run_as(runner, words, as_root);
  if (code == 0) return;
  throw Error(fmt::format("switching failed: {} ended with exit code {}; the next run tries again",
                          shell_command(words), code));
}

// Returns what is wrong with a system that is in force, if something is.
std::optional<std::string> switch_to(const Runner& runner, const PinnedTarget& pin,
                                     const Identity& identity, const std::string& path, bool boot) {
  if (pin.kind == ConfigurationKind::home) {
    // The home's own script makes the generation the profile's.
    activate(runner, {path + "/activate"}, false);
    return std::nullopt;
  }
  const fs::path state = config::process_environment("NIX_STATE_DIR").value_or("/nix/var/nix");
  activate(runner, {"nix-env", "--profile", (state / "profiles/system").string(), "--set", path},
           !identity.is_root);
  std::vector<std::string> words = {path + "/bin/switch-to-configuration",
                                    boot ? "boot" : "switch"};
  const int code = run_as(runner, words, !identity.is_root);
  if (code == code_of_failed_units) {
    return std::string(
        "the new system is in force, but not all of its units started; see `systemctl --failed`");
  }
  if (code != 0) {
    throw Error(
        fmt::format("switching failed: {} ended with exit code {}; the next run tries again, "
                    "`nixos-rebuild switch --rollback` goes back",
                    shell_command(words), code));
  }
  return std::nullopt;
}

}  // namespace

PinnedTarget pinned_target(const config::UpdateOptions& options, const Identity& identity) {
  if (options.repository.empty() || options.target.empty()) {
    throw UsageError(fmt::format(
        "--built follows one pinned target: set repository and target in [update], and branch "
        "unless the server builds the default one, for example repository = \"hosts\" and target "
        "= {}",
        fmt::format("'{}'", proposed_target(identity))));
  }
  PinnedTarget pin{options.repository, options.branch, options.target, ConfigurationKind::home};
  if (pin.target.starts_with(nixos_prefix)) {
    pin.kind = ConfigurationKind::nixos;
  } else if (!pin.target.starts_with(home_prefix)) {
    throw UsageError(fmt::format("target: '{}': a configuration was expected, such as {}",
                                 pin.target, proposed_target(identity)));
  }
  return pin;
}

bool update_to_build(const Runner& runner, const config::ClientOptions& client,
                     const PinnedTarget& pin, const Identity& identity,
                     const BuiltUpdateOptions& options) {
  ApiClient api(client);
  const auto number = newest_success(api, pin);
  if (!number) {
    say_what_failed(api, pin, 0);
    throw Error(
        fmt::format("the server has no build with {} yet; nothing is changed", name_of(pin)));
  }
  const VerifiedRecord verified = fetch_record(api, *number, record_keys_of_machine(client));
  const protocol::BuildRecord& record = verified.record;
  const std::string path = output_of(record, pin);
  const fs::path state = config::user_state_dir(config::process_environment);
  FollowedBuilds followed(state / "followed-builds.json");
  const std::string source = fmt::format("built:{}#{}/{}", pin.repository, pin.branch, pin.target);
  if (!options.allow_older) followed.refuse_older(source, record, "");
  say_what_failed(api, pin, record.build);
  const auto before = current_generation(pin.kind, identity.user);
  const std::string unfinished = Switch::unfinished(state);
  if (unfinished.empty() && is_current(pin, identity, path, options.boot)) {
    say(fmt::format("✓ this machine is at build {} of {}", record.build, pin.repository));
    return false;
  }
  say(fmt::format("  {}: build {}, commit {}, signed by {}", pin.target, record.build,
                  std::string_view(record.commit).substr(0, 8), verified.signer.name()));

  std::optional<Switch> change;
  if (!options.dry_run) change.emplace(state);
  realise(runner, path, change ? std::make_optional(change->gc_root()) : std::nullopt);
  show_difference(runner, pin, before, path);
  if (options.dry_run || !is_wanted(options.yes)) return false;

  change->begin(path);
  const auto problem = switch_to(runner, pin, identity, path, options.boot);
  followed.note(source, record);
  followed.save();
  change->end();
  if (problem) throw Error(*problem);
  return true;
}

}  // namespace nixbuild::cli
