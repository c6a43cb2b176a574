// Coroutines of one thread that wait for the same thing, each of which may wait for other things
// beside it: a waiter can be in several lists.
//
//   auto waiter = std::make_shared<async::Waiter>(executor);
//   query->changed.add(waiter);
//   upstream.changed().add(waiter);
//   co_await waiter->wait(deadline);    // then look what has changed, and begin anew
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "server/async/waiter.hpp"

namespace nixbuild::proxy {

using TimePoint = async::Waiter::TimePoint;

class WakeList {
 public:
  void add(const std::shared_ptr<async::Waiter>& waiter) {
    // Those whose coroutine no longer waits are dropped now and then.
    if (waiting_.size() >= most_) {
      std::erase_if(waiting_, [](const auto& other) { return other.expired(); });
      most_ = std::max(least, 2 * waiting_.size());
    }
    waiting_.push_back(waiter);
  }
  void wake_all() {
    const auto waiting = std::exchange(waiting_, {});
    for (const auto& weak : waiting) {
      if (const auto waiter = weak.lock()) waiter->wake();
    }
  }

 private:
  static constexpr std::size_t least = 16;
  std::size_t most_ = least;
  std::vector<std::weak_ptr<async::Waiter>> waiting_;
};

}  // namespace nixbuild::proxy
