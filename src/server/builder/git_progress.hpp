// What git says of a fetch while it runs: shown in the status, and in the log if the fetch takes
// long. A clone of a large repository takes minutes, and nothing else tells them from a standstill.
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

  // A line of git's standard error, with the carriage return that ended it if one did: git
  // overwrites progress. Says whether it was progress; all else is for the caller.
  bool handle_line(std::string_view line);

  // A fetch that has taken as long as `first_log` is logged, from then on every `log_interval` and
  // at the end of each of its stages.
  static constexpr std::chrono::seconds first_log{5};
  static constexpr std::chrono::seconds log_interval{30};

 private:
  Functions functions_;
  Clock::time_point shown_at_;
  Clock::time_point log_due_;
  bool has_logged_ = false;
};

// Runs a git command that was given --progress. Exit::error is without the progress. Throws what
// Toolbox::run() throws.
Exit run_with_progress(Toolbox& tools, Report& report, Command command);

}  // namespace nixbuild::builder
