// Holds a large NAR against its registered hash after it was compressed, when nothing else is to be
// done: to do it meanwhile would cost every eighth second of the compression. (A client checks the
// hash itself. But a store path that is damaged can be repaired, and its compressed NAR should not
// outlive that.)
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
  // `failure`: null when the NAR is right.
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
