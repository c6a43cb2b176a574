#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
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

// USER@HOST, with only characters that are safe in a header and in a table.
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

void say_outputs(const protocol::BuildStatus& status) {
  constexpr std::size_t most = 10;
  const std::size_t shown = std::min(status.outputs.size(), most);
  for (std::size_t i = 0; i < shown; ++i)
    say("  " + terminal::printable(status.outputs[i]));
  if (shown < status.outputs.size()) {
    say(fmt::format("  and {} more: `nixbuild builds {}` lists them", status.outputs.size() - shown,
                    status.build_id.value_or(0)));
  }
  if (!status.outputs.empty()) {
    say("Next: `nixbuild system-update` brings this machine to what was built");
  }
}

ExitCode run(Trigger& command) {
  ApiClient api = command.connect();
  const auto reply = api.post<protocol::TriggerReply>(
      protocol::path_of(protocol::Operation::trigger, command.repository),
      {{protocol::user_header, who()}});
  if (reply.status == protocol::TriggerResult::already_running) {
    say(fmt::format(
        "! Build already running (#{}) of {}{}", reply.build_id,
        terminal::printable(reply.repository),
        reply.queued_build_id ? fmt::format("; #{} follows", *reply.queued_build_id) : ""));
  } else {
    say(fmt::format("✓ Build triggered successfully ({} #{}){}",
                    terminal::printable(reply.repository), reply.build_id,
                    reply.queued_behind ? fmt::format(", queued behind #{}", *reply.queued_behind)
                                        : std::string()));
  }
  if (!command.wait && !command.follow) {
    if (command.json) print_line(protocol::to_json(reply, 2));
    return ExitCode::done;
  }

  ProgressView view(command.follow ? ProgressView::LogLines::shown
                                   : ProgressView::LogLines::hidden);
  FollowRequest request;
  request.repository = reply.repository;
  request.build = reply.queued_build_id.value_or(reply.build_id);
  request.with_log = command.follow;
  request.on_status = [&view](const protocol::BuildStatus& status) { view.set_status(status); };
  const protocol::BuildStatus status = follow(api, request, view);
  if (command.json) print_line(protocol::to_json(status, 2));
  view.say_result(status);
  if (status.last_status != protocol::BuildResult::success) return ExitCode::failed;
  say_outputs(status);
  return ExitCode::done;
}

}  // namespace

void add_trigger_command(CommandSpec& program) {
  CommandSpec& command = program.add_command("trigger", "Start a build on the build server");
  command.footer(
      R"(If a build of the repository is queued, or runs but has not begun to fetch, this is a trigger of that
build. If it has, one more build follows it, however often it is triggered; that ends without an
evaluation if nothing has changed. --wait and --follow apply to the build that includes what was pushed
before. They exit with code 1 if the build fails, reconnect if the connection
is lost, and give up after 15 minutes without the server. Ctrl-C stops following, not the build.

Also called build-trigger and bt.

Examples:
  nixbuild trigger
  nixbuild trigger --follow nix-terminal
  nixbuild trigger --wait --json | jq -r '.outputs[]')");
  auto state = std::make_shared<Trigger>(command);
  state->add_repository(command);
  OptionSpec& wait = command.flag("-w,--wait", state->wait, "Wait until the build ends");
  OptionSpec& follow =
      command.flag("-f,--follow", state->follow, "Show progress and log until the build ends");
  OptionSpec& json = command.flag("--json", state->json,
                                  "Print the answer as JSON; with --wait, the final status");
  follow.excludes(wait).excludes(json);
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
