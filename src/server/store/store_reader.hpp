// The store's database for programs of many threads: a StoreDatabase for each, and retries. A
// database that cannot be read at this moment (Nix holds a lock, or opens it first) can be a moment
// later, and too much depends on an answer to give up at once: Nix takes a 5xx narinfo for the
// failure of the whole build.
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

  explicit StoreReader(StoreLayout layout, std::chrono::milliseconds patience = default_patience);

  const StoreLayout& layout() const noexcept { return access_->layout(); }

  // What `query` answers, at once. Throws StoreUnavailable. Its reason is logged once when the
  // database stays unreadable, and that it is readable again.
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

  // As now(), but asks again and again until there is an answer or patience ends: then throws
  // StoreUnavailable. For threads that may wait.
  template <typename Query>
  auto now_or_wait(const Query& query) {
    const auto end = std::chrono::steady_clock::now() + patience_;
    for (;;) {
      auto result = attempt(query, end);
      if (result) return std::move(*result);
      std::this_thread::sleep_for(retry_interval);
    }
  }

  // As now_or_wait(), without holding up the thread.
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

  // The registered path with this hash part, or nothing. Waits as patiently() does.
  boost::asio::awaitable<std::optional<nix::PathInfo>> find_path(std::string hash_part);

  // Since when the database has not been readable; for as long, waiting for it has not helped.
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
  bool logged_ = false;  // this time's reason
};

}  // namespace nixbuild::store
