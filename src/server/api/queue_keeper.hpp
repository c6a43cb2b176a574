// Starts queued builds that nobody else starts: those that were queued when this server, the
// runner or the machine went, and those that follow a build that was cancelled or killed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "server/api/build_feed.hpp"
#include "server/api/runner.hpp"
#include "server/api/settings.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::api {

class QueueKeeper {
 public:
  // All must outlive this object.
  QueueKeeper(const history::StateLayout& layout, const CurrentSettings& settings, Runner& runner,
              BuildFeed& feed);
  ~QueueKeeper();
  QueueKeeper(const QueueKeeper&) = delete;
  QueueKeeper& operator=(const QueueKeeper&) = delete;

  // No build is started after this.
  void stop();

 private:
  void run();
  // Looks at the queue once. At the first look, no build is just being started by others.
  void look(history::History& history, bool is_first);
  void start(history::History& history, const protocol::Build& build);

  const history::StateLayout& layout_;
  const CurrentSettings& settings_;
  Runner& runner_;
  BuildFeed& feed_;

  // For the thread.
  bool has_queued_ = false;             // at the last look
  std::set<std::int64_t> waiting_;      // builds that nobody was running at the last look
  std::map<std::int64_t, int> failed_;  // starts that failed
  std::map<std::int64_t, std::chrono::steady_clock::time_point> started_;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool is_stopped_ = false;
  std::thread thread_;
};

}  // namespace nixbuild::api
