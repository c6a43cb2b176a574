#include "cli/progress_view.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <utility>

#include "cli/output.hpp"
#include "common/base/terminal.hpp"
#include "common/base/time.hpp"
#include "common/protocol/names.hpp"

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
// The shortest time between two redraws, however fast the log grows.
constexpr auto least_draw_interval = 80ms;
// Redraw while nothing arrives, to update ages.
constexpr auto most_draw_interval = 500ms;
// The time between two plain lines of one phase.
constexpr auto plain_interval = 10s;

std::string paint(std::string_view text, std::string_view colour, const ViewStyle& style) {
  return style.colour ? fmt::format("{}{}{}", colour, text, plain) : std::string(text);
}

// "12 of 40 built, 5 of 9 copied (34 MB of 120 MB), 1 failed"; empty if nothing has been counted.
std::string counts(const BuildStatus& status, std::string_view of, std::string_view separator) {
  const Progress& p = status.progress;
  std::string out;
  const auto add = [&](std::string text) {
    if (!out.empty()) out += separator;
    out += text;
  };
  if (p.activity) add(terminal::printable(*p.activity));
  if (status.phase == protocol::phase::evaluate && p.targets > 0) {
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

// "hello-2.12, linux-6.1"; empty if the server does not list them.
std::string failed_names(const BuildStatus& status) {
  const auto names = status.progress.failed_names.value_or(std::vector<std::string>());
  std::string out;
  for (const std::string& name : names)
    out += (out.empty() ? "" : ", ") + terminal::printable(name);
  if (!names.empty() && names.size() < status.progress.failed) out += ", ...";
  return out;
}

// How much of the work has succeeded, and how much has failed.
struct Share {
  std::uint64_t good = 0;
  std::uint64_t failed = 0;
  std::uint64_t all = 0;  // 0: unknown
};

Share share_of(const BuildStatus& status) {
  const Progress& p = status.progress;
  Share share;
  if (status.phase == protocol::phase::evaluate) {
    share = {p.evaluated, 0, p.targets};
  } else {
    // Nix no longer counts failed derivations among those to build.
    share = {p.built + p.copied, p.failed, p.to_build + p.failed + p.to_copy};
  }
  share.failed = std::min(share.failed, share.all);
  share.good = std::min(share.good, share.all - share.failed);
  return share;
}

std::string bar(const Share& share, const ViewStyle& style) {
  const auto columns_of = [&share](std::uint64_t part) {
    return static_cast<std::size_t>(static_cast<double>(part) / static_cast<double>(share.all) *
                                    static_cast<double>(bar_columns));
  };
  const std::size_t done = columns_of(share.good + share.failed);
  // A single failure stays visible among many.
  const std::size_t failed =
      share.failed == 0 ? 0 : std::min(std::max<std::size_t>(columns_of(share.failed), 1), done);
  const auto cells = [](std::size_t count, std::string_view cell) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i)
      out += cell;
    return out;
  };
  std::string out = paint(cells(done - failed, "█"), green, style);
  if (failed > 0) out += paint(cells(failed, style.colour ? "█" : "x"), red, style);
  return out + paint(cells(bar_columns - done, "░"), dim, style);
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
  std::string head = build_name(status);
  std::string tail = "  " + terminal::printable(status.phase);
  if (status.last_start && status.phase != protocol::phase::queued) {
    tail += "  " + format_age(now - *status.last_start);
  }
  const std::size_t head_columns = terminal::columns(head);
  if (head_columns + terminal::columns(tail) <= style.columns) {
    lines.push_back(paint(head, bold, style) + tail);
  } else {
    lines.push_back(terminal::fit(head + tail, style.columns));
  }

  const std::string numbers = counts(status, "/", "  ");
  const Share share = share_of(status);
  if (share.all > 0 && bar_columns + 1 + terminal::columns(numbers) <= style.columns) {
    lines.push_back(bar(share, style) + ' ' + numbers);
  } else if (!numbers.empty()) {
    lines.push_back(terminal::fit(numbers, style.columns));
  }
  if (const std::string names = failed_names(status); !names.empty()) {
    lines.push_back(paint(terminal::fit("  failed: " + names, style.columns), red, style));
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
  std::string numbers = counts(status, " of ", ", ");
  if (const std::string names = failed_names(status); !names.empty()) {
    numbers += fmt::format(" ({})", names);
  }
  const std::string phase = terminal::printable(status.phase);
  return numbers.empty() ? fmt::format("{}: {}", build_name(status), phase)
                         : fmt::format("{}: {}: {}", build_name(status), phase, numbers);
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
  if (is_cancelled(status)) return fmt::format("✗ {} was cancelled", build);
  return fmt::format("✗ {} failed: {}", build,
                     terminal::printable(status.error.value_or("unknown reason")));
}

std::string_view error_summary(std::string_view error) {
  constexpr std::string_view mark = " targets failed";
  const std::size_t end = error.find(mark);
  return end == std::string_view::npos ? error : error.substr(0, end + mark.size());
}

bool is_cancelled(const BuildStatus& status) {
  return status.last_status == protocol::BuildResult::failed && status.error == "cancelled";
}

std::string build_name(const BuildStatus& status) {
  const std::string repository = terminal::printable(status.repository);
  return status.build_id ? fmt::format("{} #{}", repository, *status.build_id) : repository;
}

ProgressView::ProgressView(LogLines log_lines)
    : log_lines_(log_lines == LogLines::shown),
      live_(terminal::can_redraw(STDERR_FILENO) &&
            (!log_lines_ || terminal::is_terminal(STDOUT_FILENO))) {}

ProgressView::~ProgressView() {
  try {
    close();
  } catch (const std::exception&) {
    // Standard output is closed; nothing more can be done here.
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
  // The result follows on the same terminal with the same information.
  if (live_ && status_.build_id &&
      line.starts_with(fmt::format("build {} failed: ", *status_.build_id))) {
    return;
  }
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

void ProgressView::say_result(const BuildStatus& status) {
  protocol::BuildStatus told = status;
  if (live_ && log_lines_ && told.error) told.error = error_summary(*told.error);
  say(result_line(told));
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
  // Move up to the first drawn line, then clear everything below.
  say_raw(fmt::format("\x1b[{}A\r\x1b[J", drawn_lines_));
  drawn_lines_ = 0;
}

void ProgressView::draw() {
  if (!has_status_) return;
  const terminal::Size size = terminal::size(STDERR_FILENO);
  ViewStyle style;
  // A line that fills the last column would make some terminals wrap.
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
  // The phase after the last is the result, which the caller reports.
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
