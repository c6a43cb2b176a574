#include "server/builder/git_progress.hpp"

#include <fmt/format.h>

#include <utility>

#include "common/base/terminal.hpp"

namespace nixbuild::builder {
namespace {

// git reports its progress more than once a second.
constexpr std::chrono::seconds show_interval{1};
constexpr std::size_t most_activity_bytes = 200;

// The readable part of "remote: Compressing objects: 100% (8/8), done.        \r".
std::string cleaned(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' '))
    line.remove_suffix(1);
  return terminal::printable(line, most_activity_bytes);
}

}  // namespace

GitProgress::GitProgress(Functions functions)
    : functions_(std::move(functions)), log_due_(functions_.now() + first_log) {}

bool GitProgress::handle_line(std::string_view line) {
  const bool is_overwritten = line.ends_with('\r');
  const std::string text = cleaned(line);
  const bool ends_stage =
      !is_overwritten && text.find(": ") != std::string::npos && text.ends_with(", done.");
  if (!is_overwritten && !ends_stage) return false;
  if (text.empty()) return true;
  const auto now = functions_.now();
  if (ends_stage || now - shown_at_ >= show_interval) {
    functions_.show(text);
    shown_at_ = now;
  }
  if (now >= log_due_ || (ends_stage && has_logged_)) {
    functions_.log("git: " + text);
    has_logged_ = true;
    log_due_ = now + log_interval;
  }
  return true;
}

Exit run_with_progress(Toolbox& tools, Report& report, Command command) {
  const auto show = [&report](std::optional<std::string> activity) {
    report.update([&](protocol::BuildStatus& status) {
      status.progress.activity.reset();
      if (activity) status.progress.activity = std::move(*activity);
    });
  };
  GitProgress progress({[&](std::string_view line) { report.log(line); },
                        [&](const std::string& activity) { show(activity); },
                        [] { return GitProgress::Clock::now(); }});
  std::string error;
  const std::size_t limit = command.error_limit;
  command.splits_at_carriage_returns = true;
  std::string overwritten;
  command.on_error_line = [&](std::string_view line) {
    if (progress.handle_line(line)) {
      overwritten = line;
      return;
    }
    // A remote's message may end with both.
    if (line.empty() && overwritten.ends_with('\r')) error += std::exchange(overwritten, {});
    error.append(line).push_back('\n');
    if (error.size() > 2 * limit) error.erase(0, error.size() - limit);
  };
  Exit exit = tools.run(std::move(command));
  exit.error = std::move(error);
  if (report.status().progress.activity) show(std::nullopt);
  return exit;
}

}  // namespace nixbuild::builder
