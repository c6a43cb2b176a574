#include "cli/progress_view.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <optional>
#include <utility>

#include "cli/output.hpp"
#include "common/base/terminal.hpp"
#include "common/base/time.hpp"

namespace nixbuild::cli {
namespace {

using namespace std::chrono_literals;
using protocol::BuildStatus;
using protocol::Progress;

constexpr std::string_view bold = "\x1b[1m";
constexpr std::string_view dim = "\x1b[2m";
constexpr std::string_view green = "\x1b[32m";
constexpr std::string_view red = "\x1b[31m";
constexpr std::string_view plain = "\x1b[0m";

constexpr std::size_t bar_columns = 24;
// Between two pictures, however fast a log comes.
constexpr auto least_draw_interval = 80ms;
// While nothing comes, so that ages move on.
constexpr auto most_draw_interval = 500ms;
// Between two plain lines of one phase.
constexpr auto plain_interval = 10s;

std::string paint(std::string_view text, std::string_view colour, const ViewStyle& style) {
  return style.colour ? fmt::format("{}{}{}", colour, text, plain) : std::string(text);
}

std::string title(const BuildStatus& status) {
  const std::string repository = terminal::printable(status.repository);
  return status.build_id ? fmt::format("{} #{}", repository, *status.build_id) : repository;
}

// "12 of 40 built, 5 of 9 copied (34 MB of 120 MB), 1 failed"; empty where there is nothing yet.
std::string counts(const BuildStatus& status, std::string_view of, std::string_view separator) {
  const Progress& p = status.progress;
  std::string out;
  const auto add = [&](std::string text) {
    if (!out.empty()) out += separator;
    out += text;
  };
  if (status.phase == "evaluate" && p.targets > 0) {
    add(fmt::format("{}{}{} evaluated", p.evaluated, of, p.targets));
  }
  if (p.to_build > 0) add(fmt::format("{}{}{} built", p.built, of, p.to_build));
  if (p.to_copy > 0) {
    std::string text = fmt::format("{}{}{} copied", p.copied, of, p.to_copy);
    if (p.bytes_to_copy > 0) {
      text +=
          fmt::format(" ({} of {})", format_bytes(p.bytes_copied), format_bytes(p.bytes_to_copy));
    }
    add(std::move(text));
  }
  if (p.failed > 0) add(fmt::format("{} failed", p.failed));
  return out;
}

// From 0 to 1; nothing where the amount of work is not known.
std::optional<double> fraction(const BuildStatus& status) {
  const Progress& p = status.progress;
  const bool evaluates = status.phase == "evaluate";
  const std::uint64_t all = evaluates ? p.targets : p.to_build + p.to_copy;
  const std::uint64_t done = evaluates ? p.evaluated : p.built + p.failed + p.copied;
  if (all == 0) return std::nullopt;
  return static_cast<double>(std::min(done, all)) / static_cast<double>(all);
}

std::string bar(double part, bool failed, const ViewStyle& style) {
  const auto full = static_cast<std::size_t>(part * bar_columns);
  std::string done;
  std::string rest;
  for (std::size_t i = 0; i < bar_columns; ++i)
    (i < full ? done : rest) += i < full ? "█" : "░";
  return paint(done, failed ? red : green, style) + paint(rest, dim, style);
}

}  // namespace

std::string format_age(std::chrono::seconds age) {
  const auto seconds = std::max<std::int64_t>(age.count(), 0);
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m {:02}s", seconds / 60, seconds % 60);
  return fmt::format("{}h {:02}m", seconds / 3600, seconds / 60 % 60);
}

std::string format_bytes(std::uint64_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  auto amount = static_cast<double>(bytes);
  const char* const units[] = {"kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  for (amount /= 1000; amount >= 999.5 && unit < 3; amount /= 1000)
    ++unit;
  return fmt::format("{:.{}f} {}", amount, amount < 9.95 ? 1 : 0, units[unit]);
}

std::vector<std::string> progress_lines(const BuildStatus& status, protocol::Time now,
                                        const ViewStyle& style) {
  std::vector<std::string> lines;
  std::string head = title(status);
  std::string tail = "  " + terminal::printable(status.phase);
  if (status.last_start && status.phase != "queued") {
    tail += "  " + format_age(now - *status.last_start);
  }
  const std::size_t head_columns = terminal::columns(head);
  if (head_columns + terminal::columns(tail) <= style.columns) {
    lines.push_back(paint(head, bold, style) + tail);
  } else {
    lines.push_back(terminal::fit(head + tail, style.columns));
  }

  const std::string numbers = counts(status, "/", "  ");
  const std::optional<double> part = fraction(status);
  if (part && bar_columns + 1 + terminal::columns(numbers) <= style.columns) {
    lines.push_back(bar(*part, status.progress.failed > 0, style) + ' ' + numbers);
  } else if (!numbers.empty()) {
    lines.push_back(terminal::fit(numbers, style.columns));
  }

  const auto& running = status.progress.running;
  const bool all_shown = running.size() <= style.most_running;
  const std::size_t shown =
      all_shown ? running.size() : std::max<std::size_t>(style.most_running, 1) - 1;
  for (std::size_t i = 0; i < shown; ++i) {
    const std::string age = format_age(now - running[i].since);
    std::string text = "  " + terminal::printable(running[i].name);
    if (!running[i].phase.empty()) text += "  " + terminal::printable(running[i].phase);
    const std::size_t room = style.columns > age.size() + 2 ? style.columns - age.size() - 2 : 0;
    lines.push_back(terminal::fit(text, room) + "  " + paint(age, dim, style));
  }
  if (!all_shown) {
    lines.push_back(
        terminal::fit(fmt::format("  and {} more", running.size() - shown), style.columns));
  }
  return lines;
}

std::string progress_line(const BuildStatus& status) {
  const std::string numbers = counts(status, " of ", ", ");
  const std::string phase = terminal::printable(status.phase);
  return numbers.empty() ? fmt::format("{}: {}", title(status), phase)
                         : fmt::format("{}: {}: {}", title(status), phase, numbers);
}

std::string result_line(const BuildStatus& status) {
  const std::string build =
      status.build_id ? fmt::format("Build #{}", *status.build_id) : std::string("Build");
  if (status.last_status == protocol::BuildResult::success) {
    std::string line = fmt::format("✓ {} succeeded", build);
    if (status.last_start && status.last_finish) {
      line += " in " + format_age(*status.last_finish - *status.last_start);
    }
    return line;
  }
  return fmt::format("✗ {} failed: {}", build,
                     terminal::printable(status.error.value_or("no reason is known")));
}

ProgressView::ProgressView(LogLines log_lines)
    : log_lines_(log_lines == LogLines::shown),
      live_(terminal::can_redraw(STDERR_FILENO) &&
            (!log_lines_ || terminal::is_terminal(STDOUT_FILENO))) {}

ProgressView::~ProgressView() {
  try {
    close();
  } catch (const std::exception&) {
    // Standard output is gone; nothing is left to be done about it here.
  }
}

void ProgressView::set_status(const BuildStatus& status) {
  status_ = status;
  has_status_ = true;
  changed_ = true;
}

void ProgressView::log_line(std::string_view line) {
  constexpr std::size_t most_pending = 65536;
  if (!log_lines_) return;
  pending_log_ += line;
  pending_log_ += '\n';
  changed_ = true;
  if (pending_log_.size() >= most_pending) refresh();
}

void ProgressView::say(std::string_view line) {
  erase();
  flush_log();
  cli::say(line);
}

void ProgressView::refresh() {
  if (!live_) {
    flush_log();
    print_plain();
    return;
  }
  constexpr std::size_t worth_a_picture = 4096;  // bytes of log
  const auto now = std::chrono::steady_clock::now();
  const auto age = now - last_draw_;
  const bool is_due = changed_ ? age >= least_draw_interval : age >= most_draw_interval;
  if (drawn_lines_ > 0 && !is_due && pending_log_.size() < worth_a_picture) return;
  erase();
  flush_log();
  draw();
  last_draw_ = now;
  changed_ = false;
}

void ProgressView::close() {
  erase();
  flush_log();
}

void ProgressView::erase() {
  if (drawn_lines_ == 0) return;
  // Up to the first drawn line, then clear all below.
  say_raw(fmt::format("\x1b[{}A\r\x1b[J", drawn_lines_));
  drawn_lines_ = 0;
}

void ProgressView::draw() {
  if (!has_status_) return;
  const terminal::Size size = terminal::size(STDERR_FILENO);
  ViewStyle style;
  // A line that fills the last column makes some terminals begin another.
  style.columns = size.columns > 1 ? size.columns - 1 : 1;
  style.most_running = std::clamp<std::size_t>(size.lines / 3, 1, 8);
  style.colour = terminal::has_colour(STDERR_FILENO);
  std::string picture;
  for (const std::string& line : progress_lines(status_, now() + clock_offset_, style)) {
    picture += line + '\n';
    ++drawn_lines_;
  }
  say_raw(picture);
}

void ProgressView::flush_log() {
  if (pending_log_.empty()) return;
  const std::string text = std::exchange(pending_log_, {});
  print(text);
}

void ProgressView::print_plain() {
  // What comes behind the last phase is the result, which the caller tells.
  if (!has_status_ || status_.phase.empty() || status_.phase == "done") return;
  const auto now = std::chrono::steady_clock::now();
  if (status_.phase == last_phase_ && now - last_plain_ < plain_interval) return;
  std::string line = progress_line(status_);
  if (line == last_plain_line_) return;
  cli::say(line);
  last_phase_ = status_.phase;
  last_plain_line_ = std::move(line);
  last_plain_ = now;
}

}  // namespace nixbuild::cli
