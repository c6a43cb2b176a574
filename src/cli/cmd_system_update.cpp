#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/api_client.hpp"
#include "cli/command.hpp"
#include "cli/machine/nix_settings.hpp"
#include "cli/output.hpp"
#include "cli/setting_flags.hpp"
#include "cli/table.hpp"
#include "cli/update/configurations.hpp"
#include "cli/update/generations.hpp"
#include "cli/update/lock_file.hpp"
#include "cli/update/lock_update.hpp"
#include "cli/update/runner.hpp"
#include "cli/update/substituters.hpp"
#include "common/base/error.hpp"
#include "common/base/shell.hpp"
#include "common/base/terminal.hpp"
#include "common/config/configuration.hpp"
#include "common/config/state_dir.hpp"
#include "common/nix/error_reason.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

using namespace std::chrono_literals;

// A server that takes longer to answer is gone, for this run.
constexpr auto patience = 2s;

struct SystemUpdate {
  explicit SystemUpdate(CLI::App& app)
      : flags(app, configuration, {"update", "client.server", "client.token_file"}) {}

  config::Configuration configuration;
  SettingFlags flags;
  bool no_update = false;
  bool no_gc = false;
  bool upstream = false;
  bool dry_run = false;
};

// The time of a step, and the line that ends it.
class Step {
 public:
  explicit Step(const std::string& what) { say("==> " + what); }
  void done(const std::string& what) const {
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin_;
    say(fmt::format("✓ {} ({:.1f} s)", what, took.count()));
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

// The commands that this run is made of.
class Plan {
 public:
  Plan(const SystemUpdate& command, const Identity& identity, std::vector<Configuration> found)
      : command_(command), identity_(identity), configurations(std::move(found)) {}

  std::vector<std::string> rebuild(const Configuration& configuration,
                                   const std::vector<std::string>& options) const {
    std::vector<std::string> words;
    if (configuration.kind == ConfigurationKind::nixos) {
      words = as_root({"nixos-rebuild", "switch"});
    } else {
      words = {"home-manager", "switch"};
    }
    words.insert(words.end(), {"--flake", ".#" + configuration.name});
    return with_options(std::move(words), options);
  }

  std::vector<std::string> build(const Configuration& configuration,
                                 const std::vector<std::string>& options) const {
    return with_options({"nix", "--extra-experimental-features", "nix-command flakes", "build",
                         "--no-link", configuration.installable()},
                        options);
  }

  std::vector<std::vector<std::string>> collect() const {
    const auto days =
        std::chrono::duration_cast<std::chrono::days>(command_.configuration.update.keep);
    const std::vector<std::string> words = {"nix-collect-garbage", "--delete-older-than",
                                            fmt::format("{}d", days.count())};
    std::vector<std::vector<std::string>> result;
    if (has(ConfigurationKind::nixos) && !identity_.is_root) result.push_back(as_root(words));
    result.push_back(words);
    return result;
  }

  // Before anything is changed: what would be missing afterwards. Throws Error.
  void check_programs() const {
    need_program("nix", "install Nix first");
    for (const Configuration& one : configurations) {
      if (one.kind == ConfigurationKind::nixos) {
        need_program("nixos-rebuild", "without it a NixOS cannot be rebuilt");
        if (!identity_.is_root) need_program("sudo", "run this command as root");
      } else {
        need_program(
            "home-manager",
            fmt::format("install it, or once: nix run home-manager -- switch --flake {}#{}",
                        one.flake.string(), one.name));
      }
    }
  }

  std::vector<fs::path> flakes() const {
    std::vector<fs::path> result;
    for (const Configuration& one : configurations) {
      if (std::find(result.begin(), result.end(), one.flake) == result.end()) {
        result.push_back(one.flake);
      }
    }
    return result;
  }

 private:
  bool has(ConfigurationKind kind) const {
    return std::any_of(configurations.begin(), configurations.end(),
                       [&](const Configuration& one) { return one.kind == kind; });
  }
  std::vector<std::string> as_root(std::vector<std::string> words) const {
    if (!identity_.is_root) words.insert(words.begin(), "sudo");
    return words;
  }
  std::vector<std::string> with_options(std::vector<std::string> words,
                                        const std::vector<std::string>& options) const {
    if (command_.configuration.update.impure) words.emplace_back("--impure");
    words.insert(words.end(), options.begin(), options.end());
    return words;
  }

  const SystemUpdate& command_;
  const Identity& identity_;

 public:
  const std::vector<Configuration> configurations;
};

// Leaves the caches that do not answer out of the substituters of all that is run.
void leave_out_silent_caches(Runner& runner) {
  Exit exit = runner.nix({"config", "show"});
  if (!exit.ok()) exit = runner.nix({"show-config"});  // before Nix 2.20
  if (!exit.ok()) {
    throw Error(fmt::format("asking Nix for its settings: {}", nix::reason_of(exit)));
  }
  std::vector<std::string> substituters = list_of(parse_nix_settings(exit.output), "substituters");
  const std::vector<std::string> silent = silent_caches(substituters, patience);
  if (silent.empty()) return;
  for (const std::string& url : silent) {
    std::erase(substituters, url);
    say(fmt::format("! {} does not answer: left out of the substituters for this run",
                    terminal::printable(url)));
  }
  runner.options.emplace_back("substituters", fmt::format("{}", fmt::join(substituters, " ")));
}

// The repositories that the server builds; nothing where it cannot be reached, and then its host if
// that is what cannot be.
std::optional<std::vector<protocol::Repository>> ask_server(const config::ClientOptions& options,
                                                            std::string& silent_host) {
  ApiClient api(options, patience);
  try {
    return api.get<protocol::RepositoryList>(protocol::path_of(protocol::Operation::repositories))
        .repositories;
  } catch (const net::UnreachableError& error) {
    say(fmt::format("! {}", error.what()));
    say("! updating from upstream instead: not everything may have been built");
    if (error.is_host_silent()) silent_host = api.server().host;
    return std::nullopt;
  }
}

void tell(const fs::path& flake, const UpdatedLock& update) {
  for (const std::string& note : update.notes)
    say(fmt::format("! {}", terminal::printable(note)));
  for (const std::string& line : update.followed)
    say(fmt::format("  {}", terminal::printable(line)));
  if (update.changes.empty()) return;
  Table table({"input", "before", "after"});
  for (const InputChange& change : update.changes) {
    table.add({terminal::printable(change.name), change.before.empty() ? "-" : change.before,
               change.after.empty() ? "-" : change.after});
  }
  print(fmt::format("{}:\n{}", (flake / "flake.lock").string(), table.render()));
}

struct FlakeUpdate {
  fs::path flake;
  UpdatedLock lock;
};

std::vector<FlakeUpdate> update_flakes(const SystemUpdate& command, const Runner& runner,
                                       const Plan& plan) {
  const Step step("update");
  std::optional<ApiClient> api;
  std::optional<AnsweringServer> server;
  std::string silent_host;
  if (!command.upstream) {
    if (auto repositories = ask_server(command.configuration.client, silent_host)) {
      api.emplace(command.configuration.client);
      server.emplace(AnsweringServer{*api, std::move(*repositories)});
    }
  }
  std::vector<FlakeUpdate> updates;
  std::size_t changes = 0;
  for (const fs::path& flake : plan.flakes()) {
    updates.push_back(
        {flake, update_lock(runner, flake, server ? &*server : nullptr, silent_host)});
    tell(flake, updates.back().lock);
    changes += updates.back().lock.changes.size();
  }
  step.done(fmt::format("update: {} {} changed", changes, changes == 1 ? "input" : "inputs"));
  return updates;
}

void show_changes(const Runner& runner, const std::optional<fs::path>& before,
                  const std::optional<fs::path>& after) {
  if (!after || before == after) {
    say("  the generation is the same as before");
    return;
  }
  const Closure now = closure_of(runner, *after);
  const Closure former = before ? closure_of(runner, *before) : Closure();
  print(render(compare(former, now), former, now));
}

// Switches to what the flakes now say. Where that fails before anything has been switched, their
// locks come back.
void rebuild(const Runner& runner, const Plan& plan, const Identity& identity,
             std::vector<LockFile>& locks, const std::vector<FlakeUpdate>& updates) {
  const Step step("rebuild");
  const std::vector<std::string> options = runner.option_arguments();
  bool has_switched = false;
  const auto run = [&](const std::vector<std::string>& words, const fs::path& directory) {
    say(fmt::format("  in {}: {}", directory.string(), shell_command(words)));
    const int code = runner.foreground(words, directory);
    if (code == 0) return;
    throw Error(fmt::format("the rebuild failed: {} in {} ended with exit code {}; {}",
                            words.front() == "sudo" ? words[1] : words.front(), directory.string(),
                            code,
                            has_switched ? "the other configuration has been switched before"
                                         : "system and flake.lock are as they were"));
  };
  const auto take_back = [&] {
    for (LockFile& lock : locks) {
      if (!has_switched) {
        lock.restore();
      } else {
        lock.keep();
      }
    }
  };
  try {
    for (const FlakeUpdate& update : updates) {
      const auto lock = std::find_if(locks.begin(), locks.end(), [&](const LockFile& one) {
        return one.flake() == update.flake;
      });
      if (update.lock.after != update.lock.before.value_or("")) {
        lock->place(update.lock.before, update.lock.after);
      }
    }
    // Of two, neither is to be switched where the other does not build.
    if (plan.configurations.size() > 1) {
      for (const Configuration& one : plan.configurations)
        run(plan.build(one, options), one.flake);
    }
    for (const Configuration& one : plan.configurations) {
      const auto before = current_generation(one.kind, identity.user);
      run(plan.rebuild(one, options), one.flake);
      has_switched = true;
      show_changes(runner, before, current_generation(one.kind, identity.user));
    }
  } catch (...) {
    take_back();
    throw;
  }
  for (LockFile& lock : locks)
    lock.keep();
  step.done("rebuild");
}

void collect(const Runner& runner, const Plan& plan) {
  const Step step("gc");
  for (const auto& words : plan.collect()) {
    say(fmt::format("  {}", shell_command(words)));
    const int code = runner.foreground(words, {});
    if (code != 0)
      throw Error(fmt::format("{} ended with exit code {}", shell_command(words), code));
  }
  step.done("gc");
}

// Takes hold of the flakes, and mends what a run that was killed has left of them.
std::vector<LockFile> take_flakes(const Plan& plan) {
  const fs::path state = config::user_state_dir(config::process_environment);
  std::vector<LockFile> locks;
  for (const fs::path& flake : plan.flakes()) {
    locks.emplace_back(flake, state);
    const LockFile::Recovery recovery = locks.back().recover();
    if (recovery == LockFile::Recovery::none) continue;
    say(fmt::format(
        "! an earlier run was cut off while it rebuilt {}: its flake.lock {}", flake.string(),
        recovery == LockFile::Recovery::restored ? "is again what it was before"
                                                 : "has been changed since by others, and stays"));
  }
  return locks;
}

ExitCode run(SystemUpdate& command) {
  command.flags.load();
  const config::UpdateOptions& options = command.configuration.update;
  std::optional<FlakeChoice> choice;
  if (!options.flake.empty()) choice = parse_flake_choice(options.flake);

  Runner runner;
  try {
    need_program("nix", "install Nix first");
    const Identity identity = this_machine();
    leave_out_silent_caches(runner);
    const Plan plan(
        command, identity,
        find_configurations(runner, choice, options.home_flake, identity, options.impure));
    plan.check_programs();

    std::vector<LockFile> locks;
    if (!command.dry_run) locks = take_flakes(plan);
    std::vector<FlakeUpdate> updates;
    if (!command.no_update) updates = update_flakes(command, runner, plan);
    if (command.dry_run) {
      for (const Configuration& one : plan.configurations) {
        say(fmt::format("would run, in {}: {}", one.flake.string(),
                        shell_command(plan.rebuild(one, runner.option_arguments()))));
      }
      if (command.no_gc) return ExitCode::done;
      for (const auto& words : plan.collect())
        say(fmt::format("would run: {}", shell_command(words)));
      return ExitCode::done;
    }
    rebuild(runner, plan, identity, locks, updates);
    if (!command.no_gc) collect(runner, plan);
  } catch (const Interrupted&) {
    InterruptGuard::die();
  }
  return ExitCode::done;
}

}  // namespace
void add_system_update_command(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("system-update", "Update this machine: inputs, rebuild, gc");
  command->footer(
      R"help(The flake's inputs are updated first. Each that the build server builds is locked to the commit of
its last successful build, and every input that has name and origin in common with one of that build
to the same revision; so what is needed then has been built already. The rest is updated from
upstream, and so is everything where the server does not answer.

Then nixos-rebuild or home-manager switches, or both, and nix-collect-garbage deletes what is old.
Where the rebuild fails, flake.lock is as it was, and nothing is deleted.

Of these steps, the alias `rebuild` (see `nixbuild aliases`) leaves out update and gc.

Also called system-update.

Examples:
  nixbuild system-update
  nixbuild system-update --dry-run
  nixbuild system-update --flake ~/machines#laptop --keep 7d)help");
  auto state = std::make_shared<SystemUpdate>(*command);
  CLI::Option* no_update =
      command->add_flag("--no-update", state->no_update, "Leave the inputs as they are locked");
  command->add_flag("--no-gc", state->no_gc, "Delete nothing");
  command->add_flag("--upstream", state->upstream, "Update from upstream, whatever has been built")
      ->excludes(no_update);
  command->add_flag("--dry-run", state->dry_run,
                    "Only show which inputs would change and what would be run");
  command->callback([state, &action] { action = [state] { return run(*state); }; });
}

}  // namespace nixbuild::cli
