// One compressed NAR being added to the NAR cache, shared by all clients that ask for it meanwhile:
// they follow the file as it grows.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "server/async/condition_variable.hpp"
#include "server/narcache/job_queue.hpp"
#include "server/narcache/nar_cache.hpp"
#include "server/narcache/nar_reader.hpp"

namespace nixbuild::narcache {

class NarProduction final : public JobQueue::Job {
 public:
  enum class State {
    running,
    complete,  // all bytes are in the file
    unkept,    // the cache cannot store them: the rest must be made for each client separately
    failed,    // the NAR cannot be read, or does not match the database
  };
  struct Progress {
    State state = State::running;
    std::uint64_t available = 0;  // bytes of the file that are final
  };

  struct Task {
    NarKey key;
    NarInput input;
    bool reproducible = true;  // otherwise only an existing file can be used
    NarCache::Clock::time_point keep_used_since;
  };

  // Called once, when no more clients should join; `failure` is null if the file was stored.
  using Ended = std::function<void(NarProduction&, const std::exception* failure)>;

  NarProduction(NarCache& cache, Task task, Ended ended);

  // Waits until there are more than `beyond` bytes, or no more will come.
  boost::asio::awaitable<Progress> wait(std::uint64_t beyond);
  // Waits until no more will come.
  boost::asio::awaitable<Progress> wait_for_end();

  // Valid once bytes are available.
  std::shared_ptr<const UniqueFd> file() const;
  // Why it failed, and whether the path is to blame: it was deleted, or does not match the
  // database.
  std::string error() const;
  bool blames_path() const;

  const NarKey& key() const noexcept { return task_.key; }
  // The duration of the compression, for Ended; 0 if there already was a good file.
  double seconds() const noexcept { return seconds_; }
  Progress progress() const;

  // Ends it soon, as failed; no more clients may join.
  void cancel() noexcept { cancelled_ = true; }
  bool cancelled() const noexcept { return cancelled_; }
  // Whether its job has begun.
  bool begun() const noexcept { return begun_; }

  // For those who start or join it: whether any client waits or has waited for it, how many wait
  // now, and whether to make it even if none does.
  std::atomic<bool> awaited{false};
  std::atomic<int> followers{0};
  std::atomic<bool> wanted{false};

  bool run(JobQueue::Slot& slot) noexcept override;
  void prepare() noexcept override { preempted_ = false; }
  void preempt() noexcept override { preempted_ = true; }
  void abandon() noexcept override;

 private:
  bool take_from_cache();
  void make(JobQueue::Slot& slot);
  void publish(State state, std::uint64_t available);
  void keep(JobQueue::Slot& slot);
  void give_up(State state, const std::exception& reason);

  NarCache& cache_;
  const Task task_;
  const Ended ended_;
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> begun_{false};
  std::atomic<bool> preempted_{false};
  double seconds_ = 0;

  // For the job's thread. They persist across a preemption: the next run makes the same bytes and
  // skips those already written.
  std::unique_ptr<NarCache::Writer> writer_;
  nix::Sha256Hasher hasher_;

  mutable std::mutex mutex_;
  Progress progress_;
  std::shared_ptr<const UniqueFd> file_;
  std::string error_;
  bool blames_path_ = false;
  async::ConditionVariable changed_;
};

}  // namespace nixbuild::narcache
