// Lets coroutines wait for what other threads bring about.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace nixbuild::narcache {

// Each waiting coroutine stays on its own executor, which must be one of a single thread and must
// outlive the last notify().
class Signal {
 public:
  // Returns once `condition` holds. It is asked on the coroutine's thread, at once and after each
  // notify().
  boost::asio::awaitable<void> wait(std::function<bool()> condition);

  // To be called, from any thread, after anything that a condition looks at has changed.
  void notify();

 private:
  using Timer = boost::asio::steady_timer;
  class Registration;

  std::mutex mutex_;
  std::vector<std::shared_ptr<Timer>> waiting_;
};

}  // namespace nixbuild::narcache
