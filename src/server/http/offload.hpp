// Work that may take its time, away from the serving threads.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace nixbuild::http {

// Runs `work` on the pool; the caller goes on, on its own executor, with the result or what it
// threw. That executor must be one of a single thread and outlive the work. A caller that is
// cancelled meanwhile ends at once; the work goes on to its end, so it must own what it uses.
//
// Not by co_spawn on the pool: that would pass a cancellation on to another thread, by a pointer
// that no longer points anywhere when the work ends first.
template <typename Result>
boost::asio::awaitable<Result> offload(boost::asio::thread_pool& pool,
                                       std::function<Result()> work) {
  namespace asio = boost::asio;
  struct Outcome {
    explicit Outcome(const asio::any_io_executor& executor)
        : ended(executor, asio::steady_timer::time_point::max()) {}
    asio::steady_timer ended;  // cancelled when there is an outcome; of the caller's thread
    bool is_there = false;     // of the caller's thread
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
    // The timer belongs to the caller's thread, and so does the last reference to it.
    asio::post(executor, [outcome = std::move(outcome)] {
      outcome->is_there = true;
      outcome->ended.cancel();
    });
  });
  while (!outcome->is_there)
    co_await outcome->ended.async_wait(asio::as_tuple(asio::use_awaitable));
  if (outcome->error) std::rethrow_exception(outcome->error);
  co_return std::move(*outcome->result);
}

}  // namespace nixbuild::http
