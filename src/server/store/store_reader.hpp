// The store's database for multi-threaded programs: one StoreDatabase per thread, and retries. A
// database that cannot be read now (Nix holds a lock, or has yet to open it) may be readable a
// moment later. Giving up at once would be costly: on a 5xx for a narinfo, Nix fails the whole
// build.
#pragma once

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "common/nix/path_info.hpp"
#include "server/async/per_thread.hpp"
#include "server/store/store_access.hpp"
#include "server/store/store_database.hpp"

namespace nixbuild::store {

class StoreReader {
 public:
  static constexpr std::chrono::milliseconds retry_interval{20};
  static constexpr std::chrono::seconds default_patience{5};

  explicit StoreReader(StoreLayout layout, std::chrono::milliseconds patience = default_patience,
                       PathFilter visible = {});

  const StoreLayout& layout() const noexcept { return access_->layout(); }

  // Runs `query` without waiting. Throws StoreUnavailable. If the database stays unreadable, logs
  // the reason once, and logs when it is readable again.
  template <typename Query>
  auto now(const Query& query) {
    try {
      auto result = query(databases_.get());
      if (unavailable_.load(std::memory_order_relaxed)) note_available();
      return result;
    } catch (const StoreUnavailable& error) {
      note_unavailable(error.what());
      throw;
    }
  }

  // Like now(), but retries until there is an answer or the timeout expires; then throws
  // StoreUnavailable. For threads that may block.
  template <typename Query>
  auto now_or_wait(const Query& query) {
    const auto end = std::chrono::steady_clock::now() + patience_;
    for (;;) {
      auto result = attempt(query, end);
      if (result) return std::move(*result);
      std::this_thread::sleep_for(retry_interval);
    }
  }

  // Like now_or_wait(), without blocking the thread.
  template <typename Result>
  boost::asio::awaitable<Result> patiently(std::function<Result(StoreDatabase&)> query) {
    const auto executor = co_await boost::asio::this_coro::executor;
    const auto end = std::chrono::steady_clock::now() + patience_;
    boost::asio::steady_timer timer(executor);
    for (;;) {
      std::optional<Result> result = attempt(query, end);
      if (result) co_return std::move(*result);
      timer.expires_after(retry_interval);
      co_await timer.async_wait(boost::asio::use_awaitable);
    }
  }

  // The registered path with this hash part, or nothing. Waits like patiently().
  boost::asio::awaitable<std::optional<nix::PathInfo>> find_path(std::string hash_part);

  // How long the database has been unreadable; nothing if it is readable. Waiting has not helped
  // for that time.
  std::optional<std::chrono::steady_clock::duration> unavailable_for() const;
  std::chrono::milliseconds patience() const noexcept { return patience_; }
  std::uint64_t failures() const noexcept { return failures_.load(std::memory_order_relaxed); }

 private:
  template <typename Query>
  auto attempt(const Query& query, std::chrono::steady_clock::time_point end)
      -> std::optional<decltype(query(std::declval<StoreDatabase&>()))> {
    try {
      return now(query);
    } catch (const StoreUnavailable&) {
      if (std::chrono::steady_clock::now() >= end) throw;
      return std::nullopt;
    }
  }

  void note_available();
  void note_unavailable(std::string_view reason);

  const std::shared_ptr<StoreAccess> access_;
  const std::chrono::milliseconds patience_;
  async::PerThread<StoreDatabase> databases_;
  std::atomic<bool> unavailable_{false};
  std::atomic<std::uint64_t> failures_{0};
  mutable std::mutex mutex_;
  std::chrono::steady_clock::time_point unavailable_since_;
  bool logged_ = false;  // the current reason
};

}  // namespace nixbuild::store
