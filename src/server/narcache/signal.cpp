#include "server/narcache/signal.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

namespace nixbuild::narcache {

namespace asio = boost::asio;

// In the list from its making until notify() takes it out or the coroutine ends, whichever way.
class Signal::Registration {
 public:
  Registration(Signal& signal, std::shared_ptr<Timer> timer)
      : signal_(signal), timer_(std::move(timer)) {
    const std::lock_guard lock(signal_.mutex_);
    signal_.waiting_.push_back(timer_);
  }
  ~Registration() {
    const std::lock_guard lock(signal_.mutex_);
    std::erase(signal_.waiting_, timer_);
  }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

 private:
  Signal& signal_;
  std::shared_ptr<Timer> timer_;
};

asio::awaitable<void> Signal::wait(std::function<bool()> condition) {
  if (condition()) co_return;
  const auto executor = co_await asio::this_coro::executor;
  for (;;) {
    auto timer = std::make_shared<Timer>(executor, Timer::time_point::max());
    const Registration registration(*this, timer);
    // Asked again now that a change can no longer be missed: the timer is cancelled by a function
    // that runs on this thread, so not before the wait below has begun.
    if (condition()) co_return;
    co_await timer->async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

void Signal::notify() {
  std::vector<std::shared_ptr<Timer>> waiting;
  {
    const std::lock_guard lock(mutex_);
    waiting.swap(waiting_);
  }
  for (auto& timer : waiting) {
    const auto executor = timer->get_executor();
    asio::post(executor, [timer = std::move(timer)] { timer->cancel(); });
  }
}

}  // namespace nixbuild::narcache
