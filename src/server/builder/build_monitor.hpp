// Follows a build by Nix's log: what is running, its progress, what failed and why.
//
// Nix often reports late that an activity has stopped, sometimes only when all are done. So a
// derivation counts as ended once its outputs are valid, or Nix reports that it failed.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/nix/log.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::builder {

class BuildMonitor {
 public:
  using Clock = std::chrono::system_clock;

  struct Functions {
    std::function<void(std::string_view line)> log;  // a line for people
    // Whether all outputs of a derivation are in the store; called when Nix reports that one of
    // several derivations was built. May return false if unknown.
    std::function<bool(const std::string& derivation)> is_built;
    std::function<Clock::time_point()> now;
  };
  explicit BuildMonitor(Functions functions);

  // A line of Nix's standard error.
  void handle_line(std::string_view line);
  // Nix has exited, so nothing is running any more. `reason` says why; it is also used for failures
  // without a reason from Nix, such as after losing the daemon.
  void finish(const std::string& reason);

  // Whether progress() may have changed since the last call.
  bool has_changed() { return std::exchange(changed_, false); }
  // Does not set the numbers of targets.
  protocol::Progress progress() const;
  // In the order of their ends.
  const std::vector<protocol::DerivationTime>& ended() const noexcept { return ended_; }

  struct Failure {
    std::string reason;  // one line; empty if Nix gave none
    std::vector<std::string> log_tail;
    // Whether it never started, because a derivation that it needs failed.
    bool is_consequence = false;
    // Whether Nix exited before it gave a reason: the derivation itself may be fine.
    bool is_interrupted = false;
  };
  // By derivation.
  const std::map<std::string, Failure>& failures() const noexcept { return failures_; }
  // Nix's last error, or the last line that it wrote outside of its log; as one line.
  const std::string& last_error() const noexcept { return last_error_; }

 private:
  struct Running {
    std::string derivation;
    std::string name;
    std::string phase;
    Clock::time_point since;
    std::deque<std::string> tail;
  };
  struct Copy {
    std::uint64_t done = 0;
    std::uint64_t expected = 0;
    bool stopped = false;
  };

  void handle(const nix::log::Start& start);
  void handle(const nix::log::Stop& stop);
  void handle(const nix::log::BuildLogLine& line);
  void handle(const nix::log::SetPhase& phase);
  void handle(const nix::log::Progress& progress);
  void handle(const nix::log::SetExpected& expected);
  void handle(const nix::log::OtherResult&) {}
  void handle(const nix::log::Message& message);
  void log_message(std::string_view text);
  void note_failure(const std::string& message);
  void find_ended(std::size_t count);
  using RunningBuilds = std::map<nix::log::ActivityId, Running>;
  RunningBuilds::iterator end(RunningBuilds::iterator build, bool failed);

  Functions functions_;
  RunningBuilds running_;
  std::map<nix::log::ActivityId, Copy> copies_;
  std::map<nix::log::ActivityId, nix::log::ActivityType> totals_;  // activities that count others
  std::uint64_t built_ = 0;
  std::uint64_t to_build_ = 0;
  std::uint64_t failed_ = 0;
  std::uint64_t copied_ = 0;
  std::uint64_t to_copy_ = 0;
  std::uint64_t expected_bytes_ = 0;
  std::vector<protocol::DerivationTime> ended_;
  std::map<std::string, Failure> failures_;
  std::string last_error_;
  bool changed_ = false;
};

// "hello-2.12" of "/nix/store/<hash>-hello-2.12.drv".
std::string derivation_name(std::string_view path);

}  // namespace nixbuild::builder
