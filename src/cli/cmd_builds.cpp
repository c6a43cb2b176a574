#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cli/build_report.hpp"
#include "cli/client_command.hpp"
#include "cli/command.hpp"
#include "cli/machine/build_record.hpp"
#include "cli/output.hpp"
#include "common/base/error.hpp"
#include "common/base/nearest.hpp"
#include "common/base/terminal.hpp"
#include "common/base/time.hpp"
#include "common/protocol/names.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

using protocol::Operation;
using protocol::path_of;

struct Builds : ClientCommand {
  using ClientCommand::ClientCommand;
  std::int64_t limit = protocol::default_builds;
  std::int64_t before = 0;
  bool json = false;
  bool lock = false;
  bool log = false;
  bool verify = false;
  const OptionSpec* limit_option = nullptr;
};

// Checks everything in the record, including the flake.lock.
void verify(const Builds& command, ApiClient& api) {
  const RecordKeys keys = record_keys_of_machine(command.options());
  const VerifiedRecord verified = fetch_record(api, *command.build, keys);
  const protocol::BuildRecord& record = verified.record;
  fetch_recorded_lock(api, record);
  if (command.json) {
    print_line(verified.bytes);
    return;
  }
  say(fmt::format("✓ Build {} of {}: signed by {}", record.build, record.repository,
                  verified.signer.name()));
  const std::size_t targets = record.targets.size();
  say(fmt::format("  {} at {}, {} {} built{}", protocol::name_of(record.state),
                  format_time(record.finish), targets, targets == 1 ? "target" : "targets",
                  record.lock_sha256 ? ", flake.lock as recorded" : ""));
  say(fmt::format("  commit {} of {}{}", record.commit, record.url,
                  record.branch ? fmt::format(", branch {}", *record.branch) : ""));
}

ExitCode run_one(const Builds& command, ApiClient& api) {
  if (command.verify) {
    verify(command, api);
  } else if (command.lock) {
    api.print(path_of(Operation::build_lock, std::to_string(*command.build)));
  } else if (command.log) {
    api.print(path_of(Operation::build_log, std::to_string(*command.build)));
  } else {
    const auto build = command.named_build(api);
    if (command.json) {
      print_line(protocol::to_json(build, 2));
    } else {
      print_text(build_report(build, time_style(STDOUT_FILENO)));
    }
  }
  return ExitCode::done;
}

// Checks whether a repository without builds exists at all. Throws RefusedError if it does not.
void expect_known(const std::string& repository, ApiClient& api) {
  if (repository.empty()) return;
  std::vector<std::string> names;
  for (const auto& one :
       api.get<protocol::RepositoryList>(path_of(Operation::repositories)).repositories) {
    names.push_back(terminal::printable(one.name));
  }
  if (std::find(names.begin(), names.end(), repository) != names.end()) return;
  throw net::RefusedError(
      fmt::format("{}: {}", api.server().host_port(),
                  unknown_name({"repository", "repositories"}, repository, names)));
}

ExitCode run_list(const Builds& command, ApiClient& api) {
  const auto list = api.get<protocol::BuildList>(protocol::with_query(
      path_of(Operation::builds),
      {{"repository", command.repository},
       {"limit", std::to_string(command.limit)},
       {"before", command.before != 0 ? std::to_string(command.before) : ""}}));
  if (command.json) {
    print_line(protocol::to_json(list, 2));
    return ExitCode::done;
  }
  if (list.builds.empty()) {
    expect_known(command.repository, api);
    say("! No builds");
    return ExitCode::done;
  }
  print_text(builds_table(list, time_style(STDOUT_FILENO), terminal::width(STDOUT_FILENO)));
  // Only if the user did not set the limit.
  if (list.next_before && !command.limit_option->is_given()) {
    say(fmt::format("! Older builds: --before {}", *list.next_before));
  }
  return ExitCode::done;
}

ExitCode run(Builds& command) {
  if ((command.lock || command.log || command.verify) && !command.build) {
    throw UsageError(
        "--lock, --log and --verify need the number of a build, as in `nixbuild builds 12 --lock`");
  }
  ApiClient api = command.connect();
  return command.build ? run_one(command, api) : run_list(command, api);
}

}  // namespace

void add_builds_command(CommandSpec& program) {
  CommandSpec& command = program.add_command("builds", "Show the history of builds, or one build");
  command.footer(
      R"(With a number, shows that build: its phases, its targets, why it failed, and what took longest.

Examples:
  nixbuild builds
  nixbuild builds nix-terminal --limit 5 --json
  nixbuild builds 12
  nixbuild builds 12 --verify
      whether the server's key signed what the server says of it, as system-update checks it
  nixbuild builds 12 --lock > flake.lock
      the inputs of that build: a flake with this lock finds everything in the cache)");
  auto state = std::make_shared<Builds>(command);
  state->add_repository_or_build(command, "A repository, or the number of a build (default: all)");
  state->limit_option = &command.option("--limit N", state->limit, {1, protocol::most_builds},
                                        "Number of builds, up to 1000 (default: 20)");
  command.option("--before ID", state->before, {1, std::numeric_limits<std::int64_t>::max()},
                 "Only builds with a lower number");
  OptionSpec& json = command.flag("--json", state->json, "Print JSON");
  OptionSpec& lock = command.flag("--lock", state->lock, "Print the flake.lock of the build");
  OptionSpec& log = command.flag("--log", state->log, "Print the complete log of the build");
  command
      .flag("--verify", state->verify,
            "Check the signed record of the build, and its flake.lock; --json prints the record")
      .excludes(lock)
      .excludes(log);
  lock.excludes(log).excludes(json);
  log.excludes(json);
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
