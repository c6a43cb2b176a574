#include <memory>

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
  const auto status = api.get<protocol::BuildStatus>(
      protocol::path_of(protocol::Operation::status, command.repository));
  ProgressView view(ProgressView::LogLines::shown);
  FollowRequest request;
  request.repository = status.repository;
  request.build = status.build_id;
  request.with_log = true;
  request.lines = command.lines;
  const protocol::BuildStatus last = follow(api, request, view);
  if (last.build_id) say(result_line(last));
  return ExitCode::done;
}

ExitCode run(Logs& command) {
  ApiClient api = command.connect();
  if (command.follow) return run_follow(command, api);
  const auto reply = api.get<protocol::LogLines>(
      protocol::with_query(protocol::path_of(protocol::Operation::logs, command.repository),
                           {{"lines", std::to_string(command.lines)}}));
  std::string text;
  for (const std::string& line : reply.logs)
    text += line + '\n';
  print(text);
  return ExitCode::done;
}

}  // namespace

void add_logs_command(CommandSpec& program) {
  CommandSpec& command = program.add_command("logs", "Show the log of the newest build");
  command.footer(
      R"(--follow goes with a running build until its end, also over a lost connection; without one it prints
the lines and ends. Ctrl-C ends the following, not the build. The exit code is 0 for a failed build
too. `nixbuild builds ID --log` prints the whole log of any build.

Also called build-logs and bl.

Examples:
  nixbuild logs -n 20
  nixbuild logs -f nix-terminal
  nixbuild logs -n 10000 | grep warning)");
  auto state = std::make_shared<Logs>(command);
  state->add_repository(command);
  command.option("-n,--lines N", state->lines,
                 {protocol::least_log_lines, protocol::most_log_lines},
                 "How many lines, up to 10000, from the log's end (default: 100)");
  command.flag("-f,--follow", state->follow, "Print what comes, until the build's end");
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
