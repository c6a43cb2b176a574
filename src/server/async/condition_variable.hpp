// A condition variable for coroutines: they wait, without holding up their thread, for what other
// threads bring about.
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
  // Also returns at `deadline`; whether the condition holds.
  boost::asio::awaitable<bool> wait_until(Waiter::TimePoint deadline,
                                          std::function<bool()> condition);

  // Call this, from any thread, after changing anything that a condition depends on.
  void notify_all();

 private:
  class Registration;

  std::mutex mutex_;
  std::vector<std::shared_ptr<Waiter>> waiting_;
};

}  // namespace nixbuild::async
