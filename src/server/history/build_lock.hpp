// Who may run a build: locks that the kernel drops with their holder, however that ends.
//
// Whether a build runs is decided by its repository's lock alone. Readers probe it and never take
// it, so that looking cannot stand in the way of a build. The locks belong to the open file
// (F_OFD_SETLK), are closed on exec, and so are never inherited by the programs a build starts.
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
  // Nothing when another one holds it. Makes the file where it is missing. Throws SystemError.
  static std::optional<FileLock> try_take(const std::filesystem::path& file);

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

// The process that took the lock on `file`, while it holds it. Throws SystemError.
std::optional<pid_t> lock_holder(const std::filesystem::path& file);

// Whether somebody holds the lock on `file`; false where there is no such file. Throws SystemError.
bool is_locked(const std::filesystem::path& file);

// The same for one file asked again and again: keeps it open.
class LockProbe {
 public:
  explicit LockProbe(std::filesystem::path file) : file_(std::move(file)) {}
  bool is_locked();

 private:
  std::filesystem::path file_;
  UniqueFd fd_;
};

// How long a queued build may wait for its runner to take the lock before it counts as dead.
constexpr std::chrono::seconds start_patience{30};

// Waits for one of `max_parallel` slots; queued builds get them in the order of their numbers.
// `keep_waiting` is asked every 0.1 s; nothing is returned once it says no.
std::optional<FileLock> wait_for_slot(const StateLayout& layout, History& history,
                                      std::int64_t build, int max_parallel,
                                      const std::function<bool()>& keep_waiting);

}  // namespace nixbuild::history
