#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>

#include "cli/build_report.hpp"
#include "cli/client_command.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/config/service_settings.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

using protocol::Operation;
using protocol::path_of;

struct Builds : ClientCommand {
  using ClientCommand::ClientCommand;
  std::string what;  // a repository or a build's number
  std::int64_t limit = protocol::default_builds;
  std::int64_t before = 0;
  bool json = false;
  bool lock = false;
  bool log = false;
  const OptionSpec* limit_option = nullptr;
};

bool is_number(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

ExitCode run_one(const Builds& command, ApiClient& api) {
  if (command.lock) {
    api.print(path_of(Operation::build_lock, command.what));
  } else if (command.log) {
    api.print(path_of(Operation::build_log, command.what));
  } else {
    const auto build = api.get<protocol::Build>(path_of(Operation::build, command.what));
    if (command.json) {
      print_line(protocol::to_json(build, 2));
    } else {
      print(build_report(build));
    }
  }
  return ExitCode::done;
}

ExitCode run_list(const Builds& command, ApiClient& api) {
  const std::string& repository = command.repository.empty() ? command.what : command.repository;
  const auto list = api.get<protocol::BuildList>(protocol::with_query(
      path_of(Operation::builds),
      {{"repository", repository},
       {"limit", std::to_string(command.limit)},
       {"before", command.before != 0 ? std::to_string(command.before) : ""}}));
  if (command.json) {
    print_line(protocol::to_json(list, 2));
    return ExitCode::done;
  }
  if (list.builds.empty()) {
    say("! No builds");
    return ExitCode::done;
  }
  if (terminal::is_terminal(STDOUT_FILENO)) {
    print(builds_table(list, terminal::size(STDOUT_FILENO).columns));
  } else {
    print(builds_table(list));
  }
  // Only where the bound was not asked for: else it is what was wanted.
  if (list.next_before && !command.limit_option->is_given()) {
    say(fmt::format("! Older ones: --before {}", *list.next_before));
  }
  return ExitCode::done;
}

ExitCode run(Builds& command) {
  const bool is_one = is_number(command.what) && command.repository.empty();
  if ((command.lock || command.log) && !is_one) {
    throw UsageError(
        "--lock and --log are of one build: name it by its number, as in `nixbuild builds 12 "
        "--lock`");
  }
  ApiClient api = command.connect();
  return is_one ? run_one(command, api) : run_list(command, api);
}

}  // namespace

void add_builds_command(CommandSpec& program) {
  CommandSpec& command =
      program.add_command("builds", "Show the history of builds, or one of them");
  command.footer(
      R"(With a number, that build: its phases, targets, what failed and why, what took longest.

Examples:
  nixbuild builds
  nixbuild builds nix-terminal --limit 5 --json
  nixbuild builds 12
  nixbuild builds 12 --lock > flake.lock
      the inputs that were built with: with the same ones, everything comes from the cache)");
  auto state = std::make_shared<Builds>(command);
  command.argument("REPO|ID", state->what, "A repository, or the number of a build (default: all)")
      .checked(config::check_repository_name);
  command.option("--repository REPO", state->repository, "A repository, also one named by digits")
      .checked(config::check_repository_name);
  state->limit_option = &command.option("--limit N", state->limit, {1, protocol::most_builds},
                                        "How many, up to 1000 (default: 20)");
  command.option("--before ID", state->before, {1, std::numeric_limits<std::int64_t>::max()},
                 "Only builds with a lower number");
  OptionSpec& json = command.flag("--json", state->json, "Print JSON");
  OptionSpec& lock = command.flag("--lock", state->lock, "Print the flake.lock of the build");
  OptionSpec& log = command.flag("--log", state->log, "Print the whole log of the build");
  lock.excludes(log).excludes(json);
  log.excludes(json);
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
