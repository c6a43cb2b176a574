// Feeds the service manager's watchdog as long as every worker's thread responds.
#pragma once

#include <atomic>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <vector>

#include "server/http/worker.hpp"

namespace nixbuild::http {

class Watchdog {
 public:
  // `workers` must outlive this; the first of them runs the timer.
  explicit Watchdog(const std::vector<std::unique_ptr<Worker>>& workers)
      : workers_(workers), timer_(workers.front()->executor()) {}

  // Does nothing if the service manager has no watchdog for this service.
  void start();

 private:
  void tick();

  const std::vector<std::unique_ptr<Worker>>& workers_;
  boost::asio::steady_timer timer_;
  std::chrono::milliseconds period_{0};
  std::atomic<std::size_t> responses_{0};  // to the last tick
};

}  // namespace nixbuild::http
