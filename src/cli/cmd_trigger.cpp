#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "cli/client_command.hpp"
#include "cli/command.hpp"
#include "cli/follow.hpp"
#include "cli/output.hpp"
#include "cli/progress_view.hpp"
#include "common/base/terminal.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

struct Trigger : ClientCommand {
  using ClientCommand::ClientCommand;
  bool wait = false;
  bool follow = false;
  bool json = false;
};

// USER@HOST, of the characters that a header and a table can have.
std::string who() {
  std::string user;
  for (const char* variable : {"USER", "LOGNAME"}) {
    const char* value = std::getenv(variable);
    if (user.empty() && value != nullptr) user = value;
  }
  if (user.empty()) {
    if (const struct passwd* entry = ::getpwuid(::getuid())) user = entry->pw_name;
  }
  std::array<char, 256> host = {};
  (void)::gethostname(host.data(), host.size() - 1);
  std::string out = user + '@' + host.data();
  std::erase_if(out, [](char c) { return c <= ' ' || c >= '\x7f'; });
  return out;
}

ExitCode run(Trigger& command) {
  ApiClient api = command.connect();
  const auto reply = api.post<protocol::TriggerReply>(
      protocol::path_of(protocol::Operation::trigger, command.repository),
      {{protocol::user_header, who()}});
  if (reply.status == protocol::TriggerResult::already_running) {
    say(fmt::format("! Build already running (#{})", reply.build_id));
  } else {
    say("✓ Build triggered successfully");
  }
  if (!command.wait && !command.follow) {
    if (command.json) print_line(protocol::to_json(reply, 2));
    return ExitCode::done;
  }

  ProgressView view(command.follow ? ProgressView::LogLines::shown
                                   : ProgressView::LogLines::hidden);
  FollowRequest request;
  request.repository = reply.repository;
  request.build = reply.build_id;
  request.with_log = command.follow;
  request.on_status = [&view](const protocol::BuildStatus& status) { view.set_status(status); };
  const protocol::BuildStatus status = follow(api, request, view);
  if (command.json) print_line(protocol::to_json(status, 2));
  say(result_line(status));
  return status.last_status == protocol::BuildResult::success ? ExitCode::done : ExitCode::failed;
}

}  // namespace

void add_trigger_command(CommandSpec& program) {
  CommandSpec& command = program.add_command("trigger", "Start a build on the build server");
  command.footer(
      R"(Does nothing where a build of the repository is queued or running already; --wait and --follow
then go with that one. They exit 1 when the build fails, carry on when the connection is lost, and
give up after 15 minutes without the server. Ctrl-C ends the following, not the build.

Also called build-trigger and bt.

Examples:
  nixbuild trigger
  nixbuild trigger --follow nix-terminal
  nixbuild trigger --wait --json | jq -r '.outputs[]')");
  auto state = std::make_shared<Trigger>(command);
  state->add_repository(command);
  OptionSpec& wait = command.flag("-w,--wait", state->wait, "Wait for the build's end");
  OptionSpec& follow =
      command.flag("-f,--follow", state->follow, "Show the build and its log until its end");
  OptionSpec& json = command.flag("--json", state->json,
                                  "Print the answer as JSON, with --wait the build's last status");
  follow.excludes(wait).excludes(json);
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
