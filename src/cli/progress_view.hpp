// How a build that goes on is shown: `run-build`, `trigger --follow` and `--wait`, `status
// --watch`.
//
// On a terminal: log lines scroll by above a few lines that are drawn anew in place. Elsewhere:
// log lines, and a plain line on every change of phase.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/protocol/types.hpp"

namespace nixbuild::cli {

struct ViewStyle {
  std::size_t columns = 80;
  std::size_t most_running = 8;  // derivations that are shown
  bool colour = false;
};

// The lines that are drawn in place: repository, build, phase and its age, a bar with built / to
// build / copied, what runs and for how long. None is wider than `style.columns`.
std::vector<std::string> progress_lines(const protocol::BuildStatus& status, protocol::Time now,
                                        const ViewStyle& style);

// The same in a line for a pipe: "nix-terminal #12: build: 3 of 7 built, 2 of 2 copied".
std::string progress_line(const protocol::BuildStatus& status);

// "nix-terminal #12"; without a number if it was never built.
std::string build_name(const protocol::BuildStatus& status);
bool is_cancelled(const protocol::BuildStatus& status);

// How a build ended: "✓ Build #12 succeeded in 2m 13s", "✗ Build #12 failed: REASON",
// "✗ Build #12 was cancelled".
std::string result_line(const protocol::BuildStatus& status);
// "1 of 2 targets failed" of "1 of 2 targets failed: packages.x: …"; any other error as it is.
std::string_view error_summary(std::string_view error);

// "12s", "2m 13s", "1h 02m"; nothing below zero.
std::string format_age(std::chrono::seconds age);

// "34 MB": three digits are enough for people.
std::string format_bytes(std::uint64_t bytes);

// Not thread-safe. Throws SystemError when standard output cannot be written.
class ProgressView {
 public:
  // Log lines go to standard output, everything else to standard error.
  enum class LogLines { shown, hidden };
  explicit ProgressView(LogLines log_lines);
  ~ProgressView();  // as close()
  ProgressView(const ProgressView&) = delete;
  ProgressView& operator=(const ProgressView&) = delete;

  void set_status(const protocol::BuildStatus& status);
  void log_line(std::string_view line);
  // A line for people, on standard error.
  void say(std::string_view line);
  // How the build ended. Where the log has just told why on the same terminal, that is not
  // repeated.
  void say_result(const protocol::BuildStatus& status);

  // Writes what has come since and draws anew; to be called whenever nothing more is at hand, and
  // every `refresh_interval` while nothing comes.
  void refresh();
  static constexpr std::chrono::milliseconds refresh_interval{100};

  // How much the clock that made the status' times is ahead of this machine's.
  void set_clock_offset(std::chrono::seconds offset) noexcept { clock_offset_ = offset; }

  bool is_live() const noexcept { return live_; }

  // Writes what is left and takes the drawn lines away.
  void close();

 private:
  void erase();
  void draw();
  void flush_log();
  void print_plain();

  const bool log_lines_;
  const bool live_;
  protocol::BuildStatus status_;
  bool has_status_ = false;
  bool changed_ = false;  // since the lines were drawn
  std::chrono::seconds clock_offset_{0};
  std::string pending_log_;
  std::size_t drawn_lines_ = 0;
  std::chrono::steady_clock::time_point last_draw_;
  std::string last_phase_;  // in a pipe: the phase of the line printed last
  std::string last_plain_line_;
  std::chrono::steady_clock::time_point last_plain_;
};

}  // namespace nixbuild::cli
