// Registered paths whose NAR cannot be made: deleted from disk, unreadable, damaged, or containing
// a file that a NAR cannot represent. A path is added when reading it fails; for a minute it is
// then neither advertised nor retried.
//
// Every function may be called from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>

#include "common/nix/store_path.hpp"

namespace nixbuild::cache {

class UnservablePaths {
 public:
  void add(const nix::StorePath& path);
  // Costs one memory load if there are none.
  bool contains(const nix::StorePath& path) const {
    return count_.load(std::memory_order_relaxed) != 0 && find(path);
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool find(const nix::StorePath& path) const;

  mutable std::mutex mutex_;
  mutable std::map<nix::StorePath, Clock::time_point> until_;
  mutable std::atomic<std::size_t> count_{0};
};

}  // namespace nixbuild::cache
