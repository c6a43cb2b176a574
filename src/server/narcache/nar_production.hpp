// One compressed NAR on its way into the NAR cache, shared by all who ask for it meanwhile: they
// follow the file as it grows.
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
    unkept,    // the cache cannot take them: what follows must be made for each client by itself
    failed,    // the NAR cannot be read, or is not what was registered
  };
  struct Progress {
    State state = State::running;
    std::uint64_t available = 0;  // bytes of the file that are final
  };

  struct Task {
    NarKey key;
    NarInput input;
    bool reproducible = true;  // else only a file that is there already will do
    NarCache::Clock::time_point keep_used_since;
  };

  // Called once, when nobody new should join any more; `failure` is null when the file is kept.
  using Ended = std::function<void(NarProduction&, const std::exception* failure)>;

  NarProduction(NarCache& cache, Task task, Ended ended);

  // Until there are more than `beyond` bytes, or no more will come.
  boost::asio::awaitable<Progress> wait(std::uint64_t beyond);
  // Until no more will come.
  boost::asio::awaitable<Progress> wait_for_end();

  // Once bytes are available.
  std::shared_ptr<const UniqueFd> file() const;
  // Why it failed, and whether the path is to blame: it is gone, or not what was registered.
  std::string error() const;
  bool blames_path() const;

  const NarKey& key() const noexcept { return task_.key; }
  // That the compression took, for Ended; 0 when there was a good file already.
  double seconds() const noexcept { return seconds_; }
  Progress progress() const;

  // Ends it soon, as failed; nobody may join it any more.
  void cancel() noexcept { cancelled_ = true; }
  bool cancelled() const noexcept { return cancelled_; }
  // Whether its job has begun.
  bool begun() const noexcept { return begun_; }

  // For whoever starts or joins it: whether somebody waits or has waited for it, how many do, and
  // whether it is to be made even if nobody does.
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

  // Of the job's thread. They outlive a preemption: run again, it makes the same bytes and leaves
  // out those that are written.
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
