// A condition variable for coroutines, which wait for changes made by other threads without
// blocking their own.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "server/async/waiter.hpp"

namespace nixbuild::async {

// Each waiting coroutine stays on its own executor, which must run on a single thread and outlive
// the last notify_all().
class ConditionVariable {
 public:
  // Returns once `condition` holds, which is evaluated on the coroutine's thread: immediately, and
  // after each notify_all(). Throws if the coroutine is cancelled.
  boost::asio::awaitable<void> wait(std::function<bool()> condition);
  // Also returns at `deadline`; the result is whether the condition holds.
  boost::asio::awaitable<bool> wait_until(Waiter::TimePoint deadline,
                                          std::function<bool()> condition);

  // Call this, on any thread, after changing anything that a condition depends on.
  void notify_all();

 private:
  class Registration;

  std::mutex mutex_;
  std::vector<std::shared_ptr<Waiter>> waiting_;
};

}  // namespace nixbuild::async
