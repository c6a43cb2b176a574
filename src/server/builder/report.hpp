// Where a running build reports to: its status file, its log, and an observer in this process.
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

// Used from one thread. The status file is written by a thread of its own, so that nothing waits
// for the disk: flushing takes longer than most of a build of what is up to date.
class Report {
 public:
  // Writes the status file once before it returns. Throws SystemError.
  Report(const history::StateLayout& layout, protocol::BuildStatus status,
         const Observer& observer);
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  // Lines are kept in the log from here on.
  void open_log(const std::filesystem::path& file);

  // Adds a line to the log, without control characters. Throws SystemError if the disk is full.
  void log(std::string_view line);
  // The same for a line as a program wrote it: the last state of what carriage returns overwrite.
  void log_output(std::string_view line);
  // The same as log(), marked as a warning.
  void warn(std::string_view line);

  const protocol::BuildStatus& status() const noexcept { return status_; }
  // Changes the status, and has it shown and written soon.
  void update(const std::function<void(protocol::BuildStatus&)>& change);

  // To be called now and then while something is waited for: flushes the log, draws what is drawn.
  // Throws what the writing thread ran into.
  void tick();

  // Writes what there is of the log before it returns; no more lines are kept. Throws SystemError.
  void end_log();

  // Ends the log, too, and writes the last status before it returns. Throws SystemError.
  void close(protocol::BuildStatus last);

 private:
  void write_when_changed();
  void stop_writing();

  const history::StateLayout& layout_;
  const Observer& observer_;
  protocol::BuildStatus status_;
  std::optional<history::BuildLog> log_;
  std::chrono::steady_clock::time_point draw_due_;

  std::mutex mutex_;  // for what follows
  std::condition_variable wake_;
  std::optional<protocol::BuildStatus> to_write_;
  std::optional<std::string> failure_;
  bool stop_ = false;
  std::thread writer_;
};

}  // namespace nixbuild::builder
