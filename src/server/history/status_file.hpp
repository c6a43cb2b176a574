// The status of a repository's build: status/REPO.json, combined with the history and the lock.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/protocol/types.hpp"

namespace nixbuild::history {

class History;
class StateLayout;

// Replaces status/REPO.json atomically and flushes it to disk; readers see either the old or the
// new file, even after a power failure. Throws SystemError.
void write_status(const StateLayout& layout, const protocol::BuildStatus& status);

// The final status of a build. Throws SqliteError.
protocol::BuildStatus ended_status(History& history, const protocol::Build& build);

// Reads the status of one repository. A build whose process has ended is reported as failed,
// 'interrupted'; one that was never started is also reported as failed. The history is then
// corrected. Not thread-safe.
class StatusReader {
 public:
  // `layout` and `history` must outlive the reader.
  StatusReader(const StateLayout& layout, History& history, std::string repository);
  ~StatusReader();
  StatusReader(StatusReader&&) noexcept;
  StatusReader& operator=(StatusReader&&) noexcept;

  // Works even if the disk is full. Throws SqliteError, SystemError.
  protocol::BuildStatus read();

  // Ends dead builds in the history, so that another build can be queued. Throws SqliteError,
  // including DiskFull.
  void end_what_is_dead();

  // Changes whenever read() may return something else; costs a few microseconds. While it stays the
  // same, an answer from the last read() remains valid.
  std::uint64_t generation();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nixbuild::history
