#include <fmt/format.h>
#include <unistd.h>

#include <memory>

#include "cli/client_command.hpp"
#include "cli/command.hpp"
#include "cli/follow.hpp"
#include "cli/output.hpp"
#include "cli/progress_view.hpp"
#include "cli/times.hpp"
#include "common/base/terminal.hpp"
#include "common/protocol/names.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

using protocol::BuildStatus;
using protocol::Operation;
using protocol::path_of;

struct Status : ClientCommand {
  using ClientCommand::ClientCommand;
  bool json = false;
  bool watch = false;
};

std::string json_of(const Status& command, const BuildStatus& status, int indent) {
  return command.json ? protocol::to_json(status, indent) : protocol::to_json_brief(status, indent);
}

std::string words_for(const BuildStatus& status) {
  const std::string name = build_name(status);
  if (status.is_running) {
    std::string more = status.phase == protocol::phase::queued ? ", queued" : "";
    if (status.progress.activity) more = ", " + terminal::printable(*status.progress.activity);
    return fmt::format("⏳ Build in progress... ({}{})", name, more);
  }
  if (status.last_status == protocol::BuildResult::success) {
    return fmt::format("✓ Last build succeeded ({})", name);
  }
  if (status.last_status) {
    return fmt::format("✗ Last build failed: {} ({})",
                       terminal::printable(status.error.value_or("unknown reason")), name);
  }
  return fmt::format("! Never built yet ({0}); `nixbuild trigger {0}` starts a build", name);
}

// One line for one of several repositories.
std::string line_for(const BuildStatus& status) {
  const TimeStyle style = time_style(STDERR_FILENO);
  const std::string name = build_name(status);
  if (status.is_running) {
    return fmt::format("  ⏳ {}: {}", name,
                       status.phase == protocol::phase::queued ? "queued" : "in progress");
  }
  if (!status.last_status) return fmt::format("  ! {}: never built", name);
  const std::string age =
      status.last_finish ? ' ' + show_age(*status.last_finish, style) : std::string();
  if (status.last_status == protocol::BuildResult::success) {
    return fmt::format("  ✓ {}: succeeded{}", name, age);
  }
  if (is_cancelled(status)) return fmt::format("  ✗ {}: cancelled{}", name, age);
  return fmt::format("  ✗ {}: failed{}: {}", name, age,
                     terminal::printable(status.error.value_or("unknown reason")));
}

// Prints all repositories if the server has several, as the success of the first may hide the
// failure of another. The requested status is already printed, so a refusal here is ignored.
void say_all(ApiClient& api) {
  try {
    const auto list = api.get<protocol::RepositoryList>(path_of(Operation::repositories));
    if (list.repositories.size() < 2) return;
    for (const protocol::Repository& one : list.repositories)
      say(line_for(api.get<BuildStatus>(path_of(Operation::status, one.name))));
  } catch (const net::RefusedError&) {
  }
}

void show(const Status& command, ApiClient& api, const BuildStatus& status) {
  print_line(json_of(command, status, 2));
  say(words_for(status));
  if (command.repository.empty() && !command.build) say_all(api);
}

// On a terminal, shows the running build and then its status; otherwise, prints the status as a
// line of JSON whenever it changes.
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
  const BuildStatus status = command.status(api);
  if (!command.watch || !status.is_running) {
    show(command, api, status);
    return ExitCode::done;
  }
  const BuildStatus last = watch(command, api, status);
  if (terminal::is_terminal(STDOUT_FILENO)) {
    show(command, api, last);
  } else {
    say(words_for(last));
  }
  return ExitCode::done;
}

}  // namespace

void add_status_command(CommandSpec& program) {
  CommandSpec& command =
      program.add_command("status", "Show the status of the newest build, or of any build");
  command.footer(
      R"(Prints JSON on standard output and a sentence on standard error. Without an argument, and if the
server has several repositories, a line for each of them follows. The query itself succeeds for a
failed build, too, so the exit code is 0.

--watch follows a running build until it ends, and reconnects if the connection is lost. In a pipe
it prints one line of JSON for every change. Ctrl-C stops watching, not the build.

Also called build-status and bs.

Examples:
  nixbuild status
  nixbuild status --json nix-terminal | jq .progress
  nixbuild status --watch
  nixbuild status 12)");
  auto state = std::make_shared<Status>(command);
  state->add_repository_or_build(
      command, "A repository (default: the server's first), or the number of a build");
  command.flag("--json", state->json, "Print all fields instead of five");
  command.flag("-w,--watch", state->watch, "Follow a running build until it ends");
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
