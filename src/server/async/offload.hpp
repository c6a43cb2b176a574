// Runs blocking work on a thread pool while the coroutine that needs its result waits.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "server/async/waiter.hpp"

namespace nixbuild::async {

// Runs `work` on the pool; the caller resumes on its own executor with the result, or with an
// exception from `work`. That executor must run on a single thread and outlive the work. If the
// caller is cancelled meanwhile, it ends immediately; the work still runs to its end, so it must
// own its data.
//
// Not co_spawn on the pool: that passes a cancellation to the other thread through a pointer that
// dangles if the work ends first.
template <typename Result>
boost::asio::awaitable<Result> offload(boost::asio::thread_pool& pool,
                                       std::function<Result()> work) {
  namespace asio = boost::asio;
  struct Outcome {
    explicit Outcome(const asio::any_io_executor& executor) : ready(executor) {}
    Waiter ready;  // used on the caller's thread
    std::optional<Result> result;
    std::exception_ptr error;
  };
  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  auto outcome = std::make_shared<Outcome>(executor);
  asio::post(pool, [executor, outcome, work = std::move(work)]() mutable {
    try {
      outcome->result.emplace(work());
    } catch (...) {
      outcome->error = std::current_exception();
    }
    work = nullptr;
    // The waiter belongs to the caller's thread, so the last reference to it must also be there.
    asio::post(executor, [outcome = std::move(outcome)] { outcome->ready.wake(); });
  });
  while (!outcome->ready.woken()) {
    asio::awaitable<void> waiting = outcome->ready.wait();
    co_await std::move(waiting);
  }
  if (outcome->error) std::rethrow_exception(outcome->error);
  co_return std::move(*outcome->result);
}

}  // namespace nixbuild::async
