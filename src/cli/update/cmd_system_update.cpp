#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

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
#include "cli/machine/build_record.hpp"
#include "cli/machine/nix_settings.hpp"
#include "cli/output.hpp"
#include "cli/setting_flags.hpp"
#include "cli/table.hpp"
#include "cli/update/built_update.hpp"
#include "cli/update/configurations.hpp"
#include "cli/update/followed_builds.hpp"
#include "cli/update/lock_update.hpp"
#include "cli/update/rebuild.hpp"
#include "cli/update/runner.hpp"
#include "cli/update/substituters.hpp"
#include "cli/update/update_plan.hpp"
#include "common/base/error.hpp"
#include "common/base/shell.hpp"
#include "common/base/terminal.hpp"
#include "common/config/configuration.hpp"
#include "common/config/state_dir.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

using namespace std::chrono_literals;

// If the server takes longer to answer, this run goes without it.
constexpr auto server_timeout = 2s;

struct SystemUpdate {
  explicit SystemUpdate(CommandSpec& app)
      : flags(app, configuration,
              {"update", "client.server", "client.token_file", "client.record_keys"}) {}

  config::Configuration configuration;
  SettingFlags flags;
  bool no_update = false;
  bool no_gc = false;
  bool upstream = false;
  bool allow_older = false;
  bool dry_run = false;
  bool built = false;
  bool boot = false;
  bool yes = false;
};

// Measures a step, and prints the line that ends it.
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

// Removes unreachable caches from the substituters of all commands.
void leave_out_silent_caches(Runner& runner) {
  const NixSettings settings = read_nix_settings(
      [&runner](std::vector<std::string> arguments) { return runner.nix(std::move(arguments)); });
  std::vector<std::string> substituters = list_of(settings, "substituters");
  const std::vector<std::string> silent = silent_caches(substituters, server_timeout);
  if (silent.empty()) return;
  for (const std::string& url : silent) {
    std::erase(substituters, url);
    say(fmt::format("! {} does not answer: left out of the substituters for this run",
                    terminal::printable(url)));
  }
  runner.options.emplace_back("substituters", fmt::format("{}", fmt::join(substituters, " ")));
}

// The repositories that the server builds. Nothing if the server is unreachable; `silent_host` is
// then its host, if that is the unreachable part.
std::optional<std::vector<protocol::Repository>> ask_server(const config::ClientOptions& options,
                                                            std::string& silent_host) {
  ApiClient api(options, server_timeout);
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
  print_text(fmt::format("{}:\n{}", (flake / "flake.lock").string(),
                         table.render(terminal::width(STDOUT_FILENO))));
}

// Nothing if the server does not build this flake.
std::optional<OwnFlake> own_flake(const Runner& runner, const fs::path& flake,
                                  const UpdatePlan& plan,
                                  const std::vector<protocol::Repository>& repositories) {
  auto repository = own_repository(runner, flake, repositories);
  if (!repository) return std::nullopt;
  OwnFlake own{std::move(*repository), {}};
  for (const Configuration& one : plan.configurations()) {
    if (one.flake == flake) own.targets.push_back(one.target());
  }
  return own;
}

std::vector<FlakeUpdate> update_flakes(const SystemUpdate& command, const Runner& runner,
                                       const UpdatePlan& plan, const FollowedBuilds& followed) {
  const Step step("update");
  std::optional<ApiClient> api;
  std::optional<AnsweringServer> server;
  RecordKeys keys;
  std::string silent_host;
  if (!command.upstream) {
    if (auto repositories = ask_server(command.configuration.client, silent_host)) {
      api.emplace(command.configuration.client);
      keys = record_keys_of_machine(command.configuration.client);
      server.emplace(
          AnsweringServer{*api, std::move(*repositories), keys, followed, command.allow_older});
    }
  }
  std::vector<FlakeUpdate> updates;
  std::size_t changes = 0;
  for (const fs::path& flake : plan.flakes()) {
    const std::optional<OwnFlake> own =
        server ? own_flake(runner, flake, plan, server->repositories) : std::nullopt;
    updates.push_back(
        {flake, update_lock(runner, flake, server ? &*server : nullptr, own, silent_host)});
    tell(flake, updates.back().lock);
    changes += updates.back().lock.changes.size();
  }
  step.done(fmt::format("update: {} {} changed", changes, changes == 1 ? "input" : "inputs"));
  return updates;
}

void collect(const Runner& runner, const UpdatePlan& plan) {
  const Step step("gc");
  for (const auto& words : plan.collect()) {
    say(fmt::format("  {}", shell_command(words)));
    const int code = runner.foreground(words, {});
    if (code != 0)
      throw Error(fmt::format("{} ended with exit code {}", shell_command(words), code));
  }
  step.done("gc");
}

void remember(FollowedBuilds& followed, const std::vector<FlakeUpdate>& updates) {
  bool has_any = false;
  for (const FlakeUpdate& update : updates) {
    for (const FollowedBuild& build : update.lock.builds) {
      followed.note(build.source, build.record);
      has_any = true;
    }
  }
  if (has_any) followed.save();
}

// Follows what the server has built for this machine, without a flake.
ExitCode run_built(const SystemUpdate& command) {
  const config::UpdateOptions& options = command.configuration.update;
  const Identity identity = this_machine();
  const PinnedTarget pin = pinned_target(options, identity);
  Runner runner;
  try {
    need_program("nix-store", "install Nix first");
    const Step step("update");
    const bool has_switched =
        update_to_build(runner, command.configuration.client, pin, identity,
                        {command.allow_older, command.boot, command.yes, command.dry_run});
    if (!has_switched) return ExitCode::done;
    step.done(command.boot ? "switched from the next boot on" : "switched");
    if (!command.no_gc) collect(runner, UpdatePlan(options, identity, {{pin.kind, {}, {}}}));
  } catch (const Interrupted&) {
    InterruptGuard::die();
  }
  return ExitCode::done;
}

ExitCode run(SystemUpdate& command) {
  command.flags.load();
  if (command.built) return run_built(command);
  const config::UpdateOptions& options = command.configuration.update;
  std::optional<FlakeChoice> choice;
  if (!options.flake.empty()) choice = parse_flake_choice(options.flake);

  Runner runner;
  try {
    need_program("nix", "install Nix first");
    const Identity identity = this_machine();
    leave_out_silent_caches(runner);
    const UpdatePlan plan(
        options, identity,
        find_configurations(runner, choice, options.home_flake, identity, options.impure));
    for (const std::string& missing : plan.missing_programs()) {
      if (!command.dry_run) throw Error(missing);
      say(fmt::format("! {}", missing));
    }

    std::vector<LockFile> locks;
    if (!command.dry_run) {
      if (!command.no_update) plan.check_flakes_are_writable();
      locks = take_flakes(plan);
    }
    FollowedBuilds followed(config::user_state_dir(config::process_environment) /
                            "followed-builds.json");
    std::vector<FlakeUpdate> updates;
    if (!command.no_update) updates = update_flakes(command, runner, plan, followed);
    if (command.dry_run) {
      for (const Configuration& one : plan.configurations()) {
        say(fmt::format("would run, in {}: {}", one.flake.string(),
                        shell_command(plan.rebuild(one, runner.option_arguments()))));
      }
      if (command.no_gc) return ExitCode::done;
      for (const auto& words : plan.collect())
        say(fmt::format("would run: {}", shell_command(words)));
      return ExitCode::done;
    }
    const Step step("rebuild");
    const std::vector<std::string> problems =
        rebuild(runner, plan, identity, locks, updates, [&] { remember(followed, updates); });
    if (!problems.empty()) throw Error(fmt::format("{}", fmt::join(problems, "\n")));
    step.done("rebuild");
    if (!command.no_gc) collect(runner, plan);
  } catch (const Interrupted&) {
    InterruptGuard::die();
  }
  return ExitCode::done;
}

}  // namespace
void add_system_update_command(CommandSpec& program) {
  CommandSpec& command =
      program.add_command("system-update", "Update this machine: inputs, rebuild, gc");
  command.footer(
      R"help(Updates the flake's inputs first.

If the flake is a clone of a repository that the build server builds, it gets the inputs of the
newest build in which this machine's own configuration succeeded, whatever else failed.

Otherwise, an input that the server builds is locked to the commit of the newest successful build,
and inputs that have the same name and origin as one of that build's to the same revision, so that
everything needed has been built already. All other inputs are updated from upstream.

Builds are followed only if a key in record_keys of [client] signed them. If the server is
unreachable, everything is updated from upstream.

Then runs nixos-rebuild, home-manager, or both, and nix-collect-garbage. If the rebuild fails,
restores flake.lock and deletes nothing.

--built evaluates nothing and needs no flake: this machine becomes what the server has built of the
repository, branch and target that [update] pins. The record of the build names the store path, Nix
fetches it from the cache and checks its signature. Shows what changes before it switches, and asks
on a terminal.

The alias `rebuild` (see `nixbuild aliases`) skips update and gc.

Also called system-update.

Examples:
  nixbuild system-update
  nixbuild system-update --dry-run
  nixbuild system-update --flake ~/machines#laptop --keep 7d
  nixbuild system-update --built --dry-run)help");
  auto state = std::make_shared<SystemUpdate>(command);
  OptionSpec& no_update = command.flag("--no-update", state->no_update, "Do not update the inputs");
  command.flag("--no-gc", state->no_gc, "Do not delete old generations");
  OptionSpec& upstream = command
                             .flag("--upstream", state->upstream,
                                   "Update from upstream instead of following the server")
                             .excludes(no_update);
  OptionSpec& built =
      command
          .flag("--built", state->built,
                "Switch to what the server has built for this machine, without evaluating")
          .excludes(no_update)
          .excludes(upstream);
  command.flag("--boot", state->boot, "With --built: switch at the next boot, not now")
      .needs(built);
  command.flag("-y,--yes", state->yes, "With --built: do not ask before switching").needs(built);
  command.flag("--allow-older", state->allow_older,
               "Follow a signed build even if it is older than the one followed last");
  command.flag(
      "--dry-run", state->dry_run,
      "Show which inputs would change and what would run, and change nothing; with --built, "
      "fetch what was built and show what would change");
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
