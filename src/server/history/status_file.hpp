// How a repository's build is doing: status/REPO.json, and the truth that it gives together with
// the history and the lock.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/protocol/types.hpp"

namespace nixbuild::history {

class History;
class StateLayout;

// Replaces status/REPO.json in one step and flushes it to the disk; a reader sees the old file or
// the new one, also after a power cut. Throws SystemError.
void write_status(const StateLayout& layout, const protocol::BuildStatus& status);

// The status with which a build ended. Throws SqliteError.
protocol::BuildStatus ended_status(History& history, const protocol::Build& build);

// Reads the status of one repository. A build whose process is gone reads failed, 'interrupted',
// one that was never started failed too, and the history is put right when that is found.
// Not thread-safe.
class StatusReader {
 public:
  // `layout` and `history` must outlive the reader.
  StatusReader(const StateLayout& layout, History& history, std::string repository);
  ~StatusReader();
  StatusReader(StatusReader&&) noexcept;
  StatusReader& operator=(StatusReader&&) noexcept;

  // On a full disk, too. Throws SqliteError, SystemError.
  protocol::BuildStatus read();

  // Puts the history right, so that another build can be queued. Throws SqliteError,
  // DiskFull among them.
  void end_what_is_dead();

  // Changes whenever read() may have another answer; costs a few microseconds. While it stays the
  // same, an answer made from the last read() still holds.
  std::uint64_t generation();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nixbuild::history
