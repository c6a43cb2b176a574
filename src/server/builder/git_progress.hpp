// Shows git's output during a fetch: in the status, and in the log if the fetch takes long. Cloning
// a large repository takes minutes, and otherwise looks as if it hung.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "server/builder/report.hpp"
#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

class GitProgress {
 public:
  using Clock = std::chrono::steady_clock;

  struct Functions {
    std::function<void(std::string_view line)> log;
    std::function<void(const std::string& activity)> show;
    std::function<Clock::time_point()> now;
  };
  explicit GitProgress(Functions functions);

  // A line of git's standard error, including the carriage return if it ended with one: git
  // overwrites its progress. Returns whether it was progress; other lines are for the caller.
  bool handle_line(std::string_view line);

  // A fetch is logged after `first_log`, and from then on every `log_interval` and at the end of
  // each stage.
  static constexpr std::chrono::seconds first_log{5};
  static constexpr std::chrono::seconds log_interval{30};

 private:
  Functions functions_;
  Clock::time_point shown_at_;
  Clock::time_point log_due_;
  bool has_logged_ = false;
};

// Runs a git command with --progress. Exit::error does not include the progress. Throws the
// exceptions of Toolbox::run().
Exit run_with_progress(Toolbox& tools, Report& report, Command command);

}  // namespace nixbuild::builder
