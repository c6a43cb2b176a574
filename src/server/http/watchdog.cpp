#include "server/http/watchdog.hpp"

#include <algorithm>

#include "server/http/service_manager.hpp"

namespace nixbuild::http {

using std::chrono::milliseconds;

void Watchdog::start() {
  const auto interval = service_manager::watchdog_interval();
  if (!interval) return;
  period_ = std::max(std::chrono::duration_cast<milliseconds>(*interval / 4), milliseconds(1));
  responses_ = workers_.size();
  tick();
}

// Each tick queries every worker, and notifies systemd if all have responded to the previous tick.
void Watchdog::tick() {
  if (responses_.load() >= workers_.size()) {
    service_manager::alive();
    responses_ = 0;
    for (const auto& worker : workers_)
      worker->post([this] { responses_.fetch_add(1); });
  }
  timer_.expires_after(period_);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) tick();
  });
}

}  // namespace nixbuild::http
