// Checks a large NAR against its registered hash after it was compressed, when the queue is
// otherwise empty: doing it during the compression would take an eighth of the time. (Clients check
// the hash themselves. But a damaged store path can be repaired, and its compressed NAR should then
// not remain.)
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <utility>

#include "server/narcache/job_queue.hpp"
#include "server/narcache/nar_cache.hpp"
#include "server/narcache/nar_reader.hpp"

namespace nixbuild::narcache {

class NarCheck final : public JobQueue::Job {
 public:
  // `failure`: null if the NAR is correct.
  using Ended = std::function<void(const NarCheck&, const std::exception* failure)>;

  NarCheck(NarKey key, NarInput input, Ended ended)
      : key_(std::move(key)), input_(std::move(input)), ended_(std::move(ended)) {}

  const NarKey& key() const noexcept { return key_; }

  bool run(JobQueue::Slot& slot) noexcept override;
  void prepare() noexcept override { preempted_ = false; }
  void preempt() noexcept override { preempted_ = true; }
  void abandon() noexcept override;

 private:
  const NarKey key_;
  const NarInput input_;
  const Ended ended_;
  std::atomic<bool> preempted_{false};
};

}  // namespace nixbuild::narcache
