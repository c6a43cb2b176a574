#include <fmt/format.h>

#include <memory>

#include "cli/client_command.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

struct Cancel : ClientCommand {
  using ClientCommand::ClientCommand;
  bool json = false;
};

// The API cancels a repository's build, or the named one. Version 0.1 ignores the parameter, so the
// state is checked first.
protocol::CancelReply cancel(const Cancel& command, ApiClient& api) {
  std::string repository = command.repository;
  if (command.build) {
    const protocol::BuildStatus status = command.status(api);
    if (!status.is_running) {
      protocol::CancelReply reply;
      reply.status = protocol::CancelResult::not_running;
      reply.message = fmt::format("Build #{} is not running", *command.build);
      reply.repository = status.repository;
      reply.build_id = command.build;
      return reply;
    }
    repository = status.repository;
  }
  return api.post<protocol::CancelReply>(
      protocol::with_query(protocol::path_of(protocol::Operation::cancel, repository),
                           {{"build", command.build ? std::to_string(*command.build) : ""}}));
}

ExitCode run(Cancel& command) {
  ApiClient api = command.connect();
  const protocol::CancelReply reply = cancel(command, api);
  if (command.json) print_line(protocol::to_json(reply, 2));
  if (reply.status == protocol::CancelResult::not_running) {
    say(command.build ? fmt::format("! Build #{} is not running", *command.build)
                      : "! No build is running");
  } else if (reply.build_id) {
    say(fmt::format("✓ Build #{} cancelled", *reply.build_id));
  } else {
    say("✓ Build cancelled");
  }
  return ExitCode::done;
}

}  // namespace

void add_cancel_command(CommandSpec& program) {
  CommandSpec& command = program.add_command("cancel", "Cancel the running or queued build");
  command.footer(
      R"(Stops all processes of the build, which then has the state 'cancelled'. A build that was queued to
follow it is still built; cancel that by its number. If no build is running, the exit code is 0 as well.

Examples:
  nixbuild cancel nix-terminal
  nixbuild cancel 12)");
  auto state = std::make_shared<Cancel>(command);
  state->add_repository_or_build(
      command, "A repository (default: the server's first), or the number of a build");
  command.flag("--json", state->json, "Print the answer as JSON");
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
