#include "server/async/condition_variable.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <utility>

namespace nixbuild::async {

namespace asio = boost::asio;

// Keeps a waiter in the list until notify_all() removes it or the coroutine ends in any way.
class ConditionVariable::Registration {
 public:
  Registration(ConditionVariable& variable, std::shared_ptr<Waiter> waiter)
      : variable_(variable), waiter_(std::move(waiter)) {
    const std::lock_guard lock(variable_.mutex_);
    variable_.waiting_.push_back(waiter_);
  }
  ~Registration() {
    const std::lock_guard lock(variable_.mutex_);
    std::erase(variable_.waiting_, waiter_);
  }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

 private:
  ConditionVariable& variable_;
  std::shared_ptr<Waiter> waiter_;
};

asio::awaitable<void> ConditionVariable::wait(std::function<bool()> condition) {
  asio::awaitable<bool> waiting = wait_until(Waiter::TimePoint::max(), std::move(condition));
  co_await std::move(waiting);
}

asio::awaitable<bool> ConditionVariable::wait_until(Waiter::TimePoint deadline,
                                                    std::function<bool()> condition) {
  if (condition()) co_return true;
  const auto executor = co_await asio::this_coro::executor;
  for (;;) {
    auto waiter = std::make_shared<Waiter>(executor);
    const Registration registration(*this, waiter);
    // From now on, no change can be missed, so check again.
    if (condition()) co_return true;
    if (std::chrono::steady_clock::now() >= deadline) co_return false;
    asio::awaitable<void> waiting = waiter->wait(deadline);
    co_await std::move(waiting);
  }
}

void ConditionVariable::notify_all() {
  std::vector<std::shared_ptr<Waiter>> waiting;
  {
    const std::lock_guard lock(mutex_);
    waiting.swap(waiting_);
  }
  for (auto& waiter : waiting) {
    const auto executor = waiter->executor();
    asio::post(executor, [waiter = std::move(waiter)] { waiter->wake(); });
  }
}

}  // namespace nixbuild::async
