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

ExitCode run(Cancel& command) {
  ApiClient api = command.connect();
  const auto reply = api.post<protocol::CancelReply>(
      protocol::path_of(protocol::Operation::cancel, command.repository));
  if (command.json) print_line(protocol::to_json(reply, 2));
  if (reply.status == protocol::CancelResult::not_running) {
    say("! No build is running");
  } else if (reply.build_id) {
    say(fmt::format("✓ Build #{} cancelled", *reply.build_id));
  } else {
    say("✓ Build cancelled");
  }
  return ExitCode::done;
}

}  // namespace

void add_cancel_command(CommandSpec& program) {
  CommandSpec& command = program.add_command("cancel", "Stop the running or queued build");
  command.footer(
      R"(The build and all its processes are ended; it is then failed, with the reason 'cancelled'. The exit
code is 0 also where nothing was running.)");
  auto state = std::make_shared<Cancel>(command);
  state->add_repository(command);
  command.flag("--json", state->json, "Print the answer as JSON");
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
