// Reports changes of builds to followers: one thread watches the state directory through inotify
// and wakes the followers of a repository when its status, its lock or one of its logs changes.
//
// The number of followers does not matter: the status is read and rendered once per change, and a
// piece of the log once for all followers at the same position.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "common/base/unique_fd.hpp"
#include "common/protocol/types.hpp"
#include "server/async/condition_variable.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"
#include "server/history/status_file.hpp"

namespace nixbuild::api {

// A repository's status, at some moment.
struct Snapshot {
  protocol::BuildStatus status;
  std::string json;
};

// Lines of a log as server-sent events.
struct LogChunk {
  std::string events;
  std::uint64_t end = 0;  // where the next line begins
};

class BuildFeed {
 public:
  explicit BuildFeed(const history::StateLayout& layout);
  ~BuildFeed();
  BuildFeed(const BuildFeed&) = delete;
  BuildFeed& operator=(const BuildFeed&) = delete;

  // One follower of a repository. Use it on one thread.
  class Follower {
   public:
    Follower(BuildFeed& feed, std::string repository);
    ~Follower();
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    // Returns once something may have changed since the last call, at `until`, or when the feed is
    // stopped.
    boost::asio::awaitable<void> wait(std::chrono::steady_clock::time_point until);
    // The latest; null before the first has been read.
    std::shared_ptr<const Snapshot> snapshot() const;

   private:
    BuildFeed& feed_;
    const std::string repository_;
    std::uint64_t seen_ = 0;
  };

  // The lines of a log from `offset`, at most about 48 KiB of them. Throws SystemError.
  std::shared_ptr<const LogChunk> read_log(const std::string& repository, std::int64_t build,
                                           std::uint64_t offset);

  // Wakes all followers, which then see `stopped`. Call it before the server that serves them is
  // destroyed.
  void stop();
  bool stopped() const noexcept { return stopped_; }
  // Tells the feed that this process may have changed a repository's status.
  void poke();

  std::size_t followers() const;

 private:
  struct Channel {
    std::size_t followers = 0;
    std::uint64_t version = 1;
    std::shared_ptr<const Snapshot> snapshot;
    async::ConditionVariable changed;  // `version` changed, or the feed was stopped
    std::int64_t chunk_build = 0;
    std::uint64_t chunk_begin = 0;
    std::shared_ptr<const LogChunk> chunk;
  };

  void run();
  void watch_directories();
  // The names of repositories with events; "" for all.
  void read_events(std::vector<std::string>& changed);
  void refresh(const std::string& repository, bool log_changed);
  static void wake(Channel& channel);

  const history::StateLayout layout_;
  UniqueFd inotify_;
  UniqueFd wakeup_;
  std::map<int, std::string> watches_;  // for the thread; the repository of a log directory, or ""

  mutable std::mutex mutex_;
  std::map<std::string, Channel> channels_;
  std::atomic<bool> stopped_{false};

  // For the thread.
  std::unique_ptr<history::History> history_;
  struct Reader {
    history::StatusReader reader;
    std::uint64_t generation = 0;
  };
  std::map<std::string, Reader> readers_;
  std::thread thread_;
};

}  // namespace nixbuild::api
