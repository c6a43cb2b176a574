#include "server/api/queue_keeper.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/history/build_lock.hpp"
#include "state.hpp"

using namespace nixbuild;
using namespace nixbuild::api;

namespace {

class QueueRunner : public Runner {
 public:
  const char* name() const noexcept override { return "noting"; }
  void start(const std::string& /*repository*/, std::int64_t build) override {
    const std::lock_guard lock(mutex_);
    started_.push_back(build);
    changed_.notify_all();
    if (refuses) throw RunnerError("systemd does not answer");
  }
  void stop(const std::string& /*repository*/) override {}

  bool has_started(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30),
                             [&] { return started_.size() >= count; });
  }
  std::vector<std::int64_t> started() {
    const std::lock_guard lock(mutex_);
    return started_;
  }

  std::atomic<bool> refuses{false};

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::int64_t> started_;
};

ServeOptions options_for_demo() {
  ServeOptions options;
  config::Repository repository;
  repository.name = "demo";
  options.repositories.push_back(repository);
  return options;
}

struct KeeperFixture : test::State {
  CurrentSettings settings{options_for_demo()};
  QueueRunner runner;
  BuildFeed feed{layout};
};

}  // namespace

TEST_CASE("what was queued when the server went is started at once") {
  KeeperFixture f;
  const auto id = f.queue();
  const QueueKeeper keeper(f.layout, f.settings, f.runner, f.feed);
  CHECK(f.runner.has_started(1));
  CHECK(f.runner.started() == std::vector<std::int64_t>{id});
}

TEST_CASE("what another process runs is left alone, until that process is gone") {
  KeeperFixture f;
  const auto running = f.queue();
  auto lock = history::FileLock::try_take(f.layout.lock("demo"));
  f.history.set_running(running, now());
  f.history.begin_phase(running, "fetch", now());
  const auto follow_up = f.queue("demo") + 1;
  const QueueKeeper keeper(f.layout, f.settings, f.runner, f.feed);
  lock.reset();
  CHECK(f.runner.has_started(1));
  CHECK(f.runner.started() == std::vector<std::int64_t>{follow_up});
  CHECK(f.history.get(running)->error == "interrupted");
}

TEST_CASE("a build that cannot be started three times has failed") {
  KeeperFixture f;
  const auto id = f.queue();
  f.runner.refuses = true;
  const QueueKeeper keeper(f.layout, f.settings, f.runner, f.feed);
  CHECK(f.runner.has_started(3));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!f.history.get(id)->finish && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(f.history.get(id)->error == "could not be started: systemd does not answer");
  CHECK(f.runner.started().size() == 3);
}

TEST_CASE("a build of a repository that is gone ends") {
  KeeperFixture f;
  const auto id = f.queue("gone");
  const QueueKeeper keeper(f.layout, f.settings, f.runner, f.feed);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!f.history.get(id)->finish && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(f.history.get(id)->error == "the repository is no longer configured");
  CHECK(f.runner.started().empty());
}
