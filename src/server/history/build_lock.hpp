// Decides who may run a build, by locks that the kernel releases when their holder ends in any way.
//
// Whether a build is running depends only on its repository's lock. Readers test it without taking
// it, so they cannot block a build. The locks belong to the open file (F_OFD_SETLK), which is
// closed on exec, so programs started by a build never inherit them.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "common/base/unique_fd.hpp"

namespace nixbuild::history {

class History;
class StateLayout;

class FileLock {
 public:
  // Nothing if another process holds it. Creates the file if it is missing. Throws SystemError.
  static std::optional<FileLock> try_take(const std::filesystem::path& file);

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// The process that holds the lock on `file`, if any. Throws SystemError.
std::optional<pid_t> lock_holder(const std::filesystem::path& file);

// Whether any process holds the lock on `file`; false if there is no such file. Throws SystemError.
bool is_locked(const std::filesystem::path& file);

// The same for repeated checks of one file, which is kept open.
class LockProbe {
 public:
  explicit LockProbe(std::filesystem::path file) : file_(std::move(file)) {}
  bool is_locked();

 private:
  std::filesystem::path file_;
  UniqueFd fd_;
};

// How long a queued build that no process has taken may hold back those behind it. Its start has
// failed if it is not taken by then.
constexpr std::chrono::seconds start_patience{30};

// Waits for one of `max_parallel` slots; queued builds get them in the order of their numbers.
// Calls `keep_waiting` every 0.1 s, and returns nothing once it returns false.
std::optional<FileLock> wait_for_slot(const StateLayout& layout, History& history,
                                      std::int64_t build, int max_parallel,
                                      const std::function<bool()>& keep_waiting);

}  // namespace nixbuild::history
