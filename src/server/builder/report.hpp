// A running build's reports: to its status file, its log, and an observer in this process.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "common/protocol/types.hpp"
#include "server/builder/run_build.hpp"
#include "server/history/build_log.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::builder {

// Use it from one thread. A separate thread writes the status file, so that nothing waits for the
// disk: flushing takes longer than most of an up-to-date build.
class Report {
 public:
  // Writes the status file once before it returns. Throws SystemError.
  Report(const history::StateLayout& layout, protocol::BuildStatus status,
         const Observer& observer);
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  // From now on, keeps lines in the log.
  void open_log(const std::filesystem::path& file);

  // Adds a line to the log, without control characters. Throws SystemError if the disk is full.
  void log(std::string_view line);
  // The same for a program's output line: logs the final state of text overwritten by carriage
  // returns.
  void log_output(std::string_view line);
  // Like log(), but marked as a warning.
  void warn(std::string_view line);

  const protocol::BuildStatus& status() const noexcept { return status_; }
  // Changes the status; it is shown and written soon.
  void update(const std::function<void(protocol::BuildStatus&)>& change);

  // To be called regularly while waiting: flushes the log, updates the display. Rethrows exceptions
  // of the writing thread.
  void tick();

  // Writes the rest of the log before it returns; later lines are not kept. Throws SystemError.
  void end_log();

  // Also ends the log, and writes the last status before it returns. Throws SystemError.
  void close(protocol::BuildStatus last);

 private:
  void write_when_changed();
  void stop_writing();

  const history::StateLayout& layout_;
  const Observer& observer_;
  protocol::BuildStatus status_;
  std::optional<history::BuildLog> log_;
  std::chrono::steady_clock::time_point draw_due_;

  std::mutex mutex_;  // protects the members below
  std::condition_variable wake_;
  std::optional<protocol::BuildStatus> to_write_;
  std::optional<std::string> failure_;
  bool stop_ = false;
  std::thread writer_;
};

}  // namespace nixbuild::builder
