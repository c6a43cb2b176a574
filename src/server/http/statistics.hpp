// Counters of one serving thread. Only that thread writes them, so counting needs no locked
// instruction; other threads may read them at any time.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

namespace nixbuild::http {

class Counter {
 public:
  void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct WorkerCounters {
  explicit WorkerCounters(std::size_t routes) : responses(routes) {}

  Counter connections_accepted;
  Counter connections_closed;
  Counter requests_begun;
  Counter requests_ended;
  Counter bytes_sent;
  Counter timeouts;
  // By route, then by status / 100; the last row counts requests that no route matched.
  std::vector<std::array<Counter, 6>> responses;
};

}  // namespace nixbuild::http
