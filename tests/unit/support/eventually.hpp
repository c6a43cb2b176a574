// Waits for another thread or process.
#pragma once

#include <chrono>
#include <thread>
#include <utility>

namespace nixbuild::test {

// Polls until the condition holds. False if it does not within `timeout`.
template <typename Condition>
bool eventually(Condition&& condition, std::chrono::seconds timeout = std::chrono::seconds(30)) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  while (!std::forward<Condition>(condition)()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace nixbuild::test
