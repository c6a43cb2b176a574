#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cli/progress_view.hpp"
#include "cli/setting_flags.hpp"
#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/base/nearest.hpp"
#include "common/config/configuration.hpp"
#include "common/config/service_settings.hpp"
#include "common/config/state_dir.hpp"
#include "server/builder/run_build.hpp"

namespace nixbuild::cli {
namespace {

struct RunBuild {
  explicit RunBuild(CommandSpec& app) : flags(app, configuration, {"state_dir", "build"}) {}

  config::Configuration configuration;
  SettingFlags flags;
  std::string name;
};

config::Repository find_repository(const RunBuild& command) {
  const std::string& name = command.name;
  const auto all = command.configuration.repositories.repositories();
  if (all.empty()) throw UsageError(command.flags.no_repository());
  if (name.empty()) return all.front();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const auto& repository) { return repository.name == name; });
  if (found != all.end()) return *found;
  std::vector<std::string> names;
  for (const auto& repository : all)
    names.push_back(repository.name);
  throw UsageError(unknown_name({"repository", "repositories"}, name, names));
}

builder::RunOptions options_of(RunBuild& command) {
  command.flags.load();
  const config::Configuration& configuration = command.configuration;
  builder::RunOptions options;
  options.state_dir =
      config::resolve_state_dir(configuration.state_dir, config::process_environment);
  options.build = configuration.build;
  options.repository = find_repository(command);
  options.secrets = configuration.cache.secret_key_files;
  for (const auto& token : {configuration.api.token_file, configuration.client.token_file}) {
    if (!token.empty()) options.secrets.push_back(token);
  }
  return options;
}

ExitCode run(RunBuild& command) {
  const builder::RunOptions options = options_of(command);
  // The journal gets only the steps: the log has its own file.
  ProgressView view(log::goes_to_journal() ? ProgressView::LogLines::hidden
                                           : ProgressView::LogLines::shown);
  protocol::BuildStatus last;
  builder::Observer observer;
  observer.status = [&](const protocol::BuildStatus& status) {
    last = status;
    view.set_status(status);
  };
  observer.log_line = [&](std::string_view line) { view.log_line(line); };
  observer.tick = [&] { view.refresh(); };
  const ExitCode code = builder::run_build(options, observer);
  view.close();
  if (code != ExitCode::lock_held) view.say_result(last);
  return code;
}

}  // namespace

void add_run_build_command(CommandSpec& program) {
  CommandSpec& command =
      program.add_command("run-build", "Build a repository on this machine, without the API");
  command.footer(
      R"(Fetches the repository, updates the inputs of its flake, evaluates and builds everything that it
offers, and keeps the outputs from garbage collection. [[repository]] of the configuration file says
what to build. The build is part of the history: `nixbuild status`, `logs` and `builds` show it.

Exit codes: 0 all targets were built, 1 the build failed, 75 the repository is already being built.
Ctrl-C cancels the build and stops all its processes.

Examples:
  nixbuild run-build nix-terminal
  nixbuild run-build demo --repository demo=/home/ann/demo --state-dir /tmp/state)");
  auto state = std::make_shared<RunBuild>(command);
  command.argument("REPO", state->name, "Name of a configured repository (default: the first)")
      .checked(config::check_repository_name);
  state->flags.add_repository_flag(command);
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
