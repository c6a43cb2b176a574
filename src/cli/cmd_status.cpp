#include <fmt/format.h>
#include <unistd.h>

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

using protocol::BuildStatus;

struct Status : ClientCommand {
  using ClientCommand::ClientCommand;
  bool json = false;
  bool watch = false;
};

std::string json_of(const Status& command, const BuildStatus& status, int indent) {
  return command.json ? protocol::to_json(status, indent) : protocol::to_json_brief(status, indent);
}

std::string words_for(const BuildStatus& status) {
  if (status.is_running) {
    return status.phase == "queued" ? "⏳ Build in progress... (queued)"
                                    : "⏳ Build in progress...";
  }
  if (status.last_status == protocol::BuildResult::success) return "✓ Last build succeeded";
  if (status.last_status) {
    return fmt::format("✗ Last build failed: {}",
                       terminal::printable(status.error.value_or("no reason is known")));
  }
  return "! Never built yet (`nixbuild trigger` starts a build)";
}

void show(const Status& command, const BuildStatus& status) {
  print_line(json_of(command, status, 2));
  say(words_for(status));
}

// On a terminal, the build as it goes on and then the status; elsewhere, the status in a line of
// JSON whenever it changes.
BuildStatus watch(const Status& command, const ApiClient& api, const BuildStatus& first) {
  const bool in_lines = !terminal::is_terminal(STDOUT_FILENO);
  ProgressView view(ProgressView::LogLines::hidden);
  std::string last_line;
  const auto print_change = [&](const BuildStatus& status) {
    std::string line = json_of(command, status, -1);
    if (line != last_line) print_line(line);
    last_line = std::move(line);
  };
  FollowRequest request;
  request.repository = first.repository;
  request.build = first.build_id;
  request.on_status = [&](const BuildStatus& status) {
    view.set_status(status);
    if (in_lines) print_change(status);
  };
  BuildStatus last = follow(api, request, view);
  if (in_lines) print_change(last);
  return last;
}

ExitCode run(Status& command) {
  ApiClient api = command.connect();
  const auto status =
      api.get<BuildStatus>(protocol::path_of(protocol::Operation::status, command.repository));
  if (!command.watch || !status.is_running) {
    show(command, status);
    return ExitCode::done;
  }
  const BuildStatus last = watch(command, api, status);
  if (terminal::is_terminal(STDOUT_FILENO)) {
    show(command, last);
  } else {
    say(words_for(last));
  }
  return ExitCode::done;
}

}  // namespace

void add_status_command(CommandSpec& program) {
  CommandSpec& command = program.add_command("status", "Show how the newest build is doing");
  command.footer(
      R"(JSON goes to standard output, a line in words to standard error. The exit code is 0 for a failed
build too: that it is known is what was asked for.

--watch goes with a running build until its end, also over a lost connection. In a pipe it prints
the status in one line of JSON whenever it changes. Ctrl-C ends the watching, not the build.

Also called build-status and bs.

Examples:
  nixbuild status
  nixbuild status --json nix-terminal | jq .progress
  nixbuild status --watch)");
  auto state = std::make_shared<Status>(command);
  state->add_repository(command);
  command.flag("--json", state->json, "Print all that is known, not only five fields");
  command.flag("-w,--watch", state->watch, "Go with a running build until its end");
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
