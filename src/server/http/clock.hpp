// The clock for deadlines: accurate to a few milliseconds, and cheap enough to read for each
// request.
#pragma once

#include <chrono>
#include <ctime>

namespace nixbuild::http {

using MonotonicTime = std::chrono::steady_clock::time_point;

inline MonotonicTime coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return MonotonicTime(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

}  // namespace nixbuild::http
