#include <memory>
#include <string>
#include <vector>

#include "cli/client_command.hpp"
#include "cli/command.hpp"
#include "cli/follow.hpp"
#include "cli/output.hpp"
#include "cli/progress_view.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

struct Logs : ClientCommand {
  using ClientCommand::ClientCommand;
  std::int64_t lines = protocol::default_log_lines;
  bool follow = false;
};

ExitCode run_follow(Logs& command, ApiClient& api) {
  const protocol::BuildStatus status = command.status(api);
  ProgressView view(ProgressView::LogLines::shown);
  FollowRequest request;
  request.repository = status.repository;
  request.build = status.build_id;
  request.with_log = true;
  request.lines = command.lines;
  const protocol::BuildStatus last = follow(api, request, view);
  if (last.build_id) view.say_result(last);
  return ExitCode::done;
}

std::vector<std::string> last_lines(const Logs& command, ApiClient& api) {
  if (command.build) {
    return api.last_lines(
        protocol::path_of(protocol::Operation::build_log, std::to_string(*command.build)),
        static_cast<std::size_t>(command.lines));
  }
  return api
      .get<protocol::LogLines>(
          protocol::with_query(protocol::path_of(protocol::Operation::logs, command.repository),
                               {{"lines", std::to_string(command.lines)}}))
      .logs;
}

ExitCode run(Logs& command) {
  ApiClient api = command.connect();
  if (command.follow) return run_follow(command, api);
  std::string text;
  for (const std::string& line : last_lines(command, api))
    text += line + '\n';
  print(text);
  return ExitCode::done;
}

}  // namespace

void add_logs_command(CommandSpec& program) {
  CommandSpec& command =
      program.add_command("logs", "Show the log of the newest build, or of any build");
  command.footer(
      R"(--follow prints the log of a running build until it ends, and reconnects if the connection is lost.
Ctrl-C stops following, not the build. The exit code is 0 for the log of a failed build, too.
`nixbuild builds ID --log` prints the complete log of a build.

Also called build-logs and bl.

Examples:
  nixbuild logs -n 20
  nixbuild logs -f nix-terminal
  nixbuild logs 12 -n 10000 | grep warning)");
  auto state = std::make_shared<Logs>(command);
  state->add_repository_or_build(
      command, "A repository (default: the server's first), or the number of a build");
  command.option("-n,--lines N", state->lines,
                 {protocol::least_log_lines, protocol::most_log_lines},
                 "Number of lines from the end of the log, up to 10000 (default: 100)");
  command.flag("-f,--follow", state->follow, "Print new lines until the build ends");
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
