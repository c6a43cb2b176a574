// Lets one coroutine wait until a function on its own thread wakes it.
//
// All waiting of coroutines is built on this. Other threads wake a coroutine by posting a call of
// wake() to its executor, as ConditionVariable and offload() do.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>

namespace nixbuild::async {

class Waiter {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit Waiter(const boost::asio::any_io_executor& executor) : timer_(executor) {}

  // Returns once wake() has been called, even if that was earlier; at the latest at `deadline`, or
  // when the coroutine is cancelled.
  boost::asio::awaitable<void> wait(TimePoint deadline = TimePoint::max()) {
    if (woken_) co_return;
    // Asio has no event class; cancelling a timer is the cheapest substitute.
    timer_.expires_at(deadline);
    co_await timer_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }

  // Call it on the thread of the executor.
  void wake() {
    woken_ = true;
    timer_.cancel();
  }
  bool woken() const noexcept { return woken_; }

  boost::asio::any_io_executor executor() { return timer_.get_executor(); }

 private:
  boost::asio::steady_timer timer_;
  bool woken_ = false;
};

}  // namespace nixbuild::async
