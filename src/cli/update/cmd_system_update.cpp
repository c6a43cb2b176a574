#include <fmt/format.h>
#include <fmt/ranges.h>

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
#include "cli/update/lock_update.hpp"
#include "cli/update/rebuild.hpp"
#include "cli/update/runner.hpp"
#include "cli/update/substituters.hpp"
#include "cli/update/update_plan.hpp"
#include "common/base/error.hpp"
#include "common/base/shell.hpp"
#include "common/base/terminal.hpp"
#include "common/config/configuration.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

using namespace std::chrono_literals;

// A server that takes longer to answer is gone, for this run.
constexpr auto patience = 2s;

struct SystemUpdate {
  explicit SystemUpdate(CommandSpec& app)
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

// Leaves the caches that do not answer out of the substituters of all that is run.
void leave_out_silent_caches(Runner& runner) {
  const NixSettings settings = read_nix_settings(
      [&runner](std::vector<std::string> arguments) { return runner.nix(std::move(arguments)); });
  std::vector<std::string> substituters = list_of(settings, "substituters");
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

std::vector<FlakeUpdate> update_flakes(const SystemUpdate& command, const Runner& runner,
                                       const UpdatePlan& plan) {
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
    const UpdatePlan plan(
        options, identity,
        find_configurations(runner, choice, options.home_flake, identity, options.impure));
    plan.check_programs();

    std::vector<LockFile> locks;
    if (!command.dry_run) locks = take_flakes(plan);
    std::vector<FlakeUpdate> updates;
    if (!command.no_update) updates = update_flakes(command, runner, plan);
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
    rebuild(runner, plan, identity, locks, updates);
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
  auto state = std::make_shared<SystemUpdate>(command);
  OptionSpec& no_update =
      command.flag("--no-update", state->no_update, "Leave the inputs as they are locked");
  command.flag("--no-gc", state->no_gc, "Delete nothing");
  command.flag("--upstream", state->upstream, "Update from upstream, whatever has been built")
      .excludes(no_update);
  command.flag("--dry-run", state->dry_run,
               "Only show which inputs would change and what would be run");
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
