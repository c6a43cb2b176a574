#include "server/api/queue_keeper.hpp"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/base/time.hpp"
#include "server/history/build_lock.hpp"
#include "server/history/status_file.hpp"

namespace nixbuild::api {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds queue_interval{1};

}  // namespace

QueueKeeper::QueueKeeper(const history::StateLayout& layout, const CurrentSettings& settings,
                         Runner& runner, BuildFeed& feed)
    : layout_(layout), settings_(settings), runner_(runner), feed_(feed) {
  thread_ = std::thread([this] { run(); });
}

QueueKeeper::~QueueKeeper() {
  stop();
}

void QueueKeeper::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void QueueKeeper::run() {
  std::unique_ptr<history::History> history;
  std::optional<std::uint64_t> generation;
  bool is_first = true;
  std::string problem;
  std::unique_lock lock(mutex_);
  while (!is_stopped_) {
    lock.unlock();
    try {
      if (!history) history = std::make_unique<history::History>(layout_.history());
      const std::uint64_t current = history->generation();
      // A queued build can lose its process without a change of the history.
      if (current != generation || has_queued_) {
        generation = current;
        look(*history, std::exchange(is_first, false));
      }
      problem.clear();
    } catch (const Error& error) {
      if (problem != error.what()) log::warn("starting queued builds: {}", error.what());
      problem = error.what();
      history.reset();
      generation.reset();
    }
    lock.lock();
    wake_.wait_for(lock, queue_interval, [this] { return is_stopped_; });
  }
}

void QueueKeeper::look(history::History& history, bool is_first) {
  std::set<std::int64_t> waiting;
  std::set<std::string> repositories;
  const std::vector<protocol::Build> builds = history.queued();
  has_queued_ = !builds.empty();
  for (const protocol::Build& build : builds) {
    // run-build takes the oldest of a repository.
    if (!repositories.insert(build.repository).second) continue;
    // The builds' user can write to the history, so the name can be anything.
    if (build.repository.empty() || settings_.get()->repository(build.repository) == nullptr) {
      history.finish(build.id, "the repository is no longer configured", now());
      feed_.poke();
      continue;
    }
    if (history::is_locked(layout_.lock(build.repository))) continue;
    waiting.insert(build.id);
    // It may be just being started.
    if (!is_first && !waiting_.contains(build.id)) continue;
    const auto started = started_.find(build.id);
    if (started != started_.end() && Clock::now() - started->second < history::start_patience) {
      continue;
    }
    start(history, build);
  }
  std::erase_if(failed_, [&](const auto& failed) { return !waiting.contains(failed.first); });
  std::erase_if(started_, [&](const auto& started) { return !waiting.contains(started.first); });
  waiting_ = std::move(waiting);
}

void QueueKeeper::start(history::History& history, const protocol::Build& build) {
  // What this build follows may have been killed.
  history::StatusReader(layout_, history, build.repository).end_what_is_dead();
  log::info("starting build #{} of {}, which was queued", build.id, build.repository);
  started_[build.id] = Clock::now();
  try {
    runner_.start(build.repository, build.id);
  } catch (const RunnerError& error) {
    log::warn("build #{} of {} could not be started: {}", build.id, build.repository, error.what());
    started_.erase(build.id);
    if (++failed_[build.id] < most_starts) return;
    history.finish(build.id, fmt::format("could not be started: {}", error.what()), now());
  }
  feed_.poke();
}

}  // namespace nixbuild::api
