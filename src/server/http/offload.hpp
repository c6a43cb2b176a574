// Work that may take its time, away from the serving threads.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <utility>

namespace nixbuild::http {

template <typename Result>
boost::asio::awaitable<Result> as_coroutine(std::function<Result()> work) {
  co_return work();
}

// Runs `work` on the pool; the caller goes on, on its own executor, with the result or what it
// threw. The caller's executor must outlive the work.
template <typename Result>
boost::asio::awaitable<Result> offload(boost::asio::thread_pool& pool,
                                       std::function<Result()> work) {
  return boost::asio::co_spawn(pool.get_executor(), as_coroutine<Result>(std::move(work)),
                               boost::asio::use_awaitable);
}

}  // namespace nixbuild::http
