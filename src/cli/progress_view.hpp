// Shows a running build: `run-build`, `trigger --follow` and `--wait`, `status --watch`.
//
// On a terminal, log lines scroll above a few lines that are redrawn in place. Otherwise, log lines
// and a plain line for every change of phase.
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
  std::size_t most_running = 8;  // derivations to show
  bool colour = false;
};

// The lines that are redrawn in place: repository, build, phase and its age, a bar with built / to
// build / copied, what is being built and for how long. None is wider than `style.columns`.
std::vector<std::string> progress_lines(const protocol::BuildStatus& status, protocol::Time now,
                                        const ViewStyle& style);

// The same as one line for a pipe: "nix-terminal #12: build: 3 of 7 built, 2 of 2 copied".
std::string progress_line(const protocol::BuildStatus& status);

// "nix-terminal #12"; without a number if it was never built.
std::string build_name(const protocol::BuildStatus& status);
bool is_cancelled(const protocol::BuildStatus& status);

// How a build ended: "✓ Build #12 succeeded in 2m 13s", "✗ Build #12 failed: REASON",
// "✗ Build #12 was cancelled".
std::string result_line(const protocol::BuildStatus& status);
// "1 of 2 targets failed" from "1 of 2 targets failed: packages.x: …"; other errors unchanged.
std::string_view error_summary(std::string_view error);

// "12s", "2m 13s", "1h 02m"; negative ages count as zero.
std::string format_age(std::chrono::seconds age);

// "34 MB", with three digits.
std::string format_bytes(std::uint64_t bytes);

// Not thread-safe. Throws SystemError if standard output cannot be written.
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
  // Prints a line for people on standard error.
  void say(std::string_view line);
  // Prints the result of the build, without the reason if the log on the same terminal has just
  // shown it.
  void say_result(const protocol::BuildStatus& status);

  // Writes pending output and redraws. To be called whenever no more input is available, and every
  // `refresh_interval` while nothing arrives.
  void refresh();
  static constexpr std::chrono::milliseconds refresh_interval{100};

  // How far the server's clock, which set the status's times, is ahead of this machine's.
  void set_clock_offset(std::chrono::seconds offset) noexcept { clock_offset_ = offset; }

  bool is_live() const noexcept { return live_; }

  // Writes pending output and removes the drawn lines.
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
  std::string last_phase_;  // in a pipe: the phase of the last printed line
  std::string last_plain_line_;
  std::chrono::steady_clock::time_point last_plain_;
};

}  // namespace nixbuild::cli
