#include "server/narcache/job_queue.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <system_error>
#include <utility>

#include "common/base/log.hpp"

namespace nixbuild::narcache {
namespace {

// Maximum number of started jobs that wait for their client or the disk, besides those with a slot.
constexpr unsigned waiting_threads = 32;
constexpr int lowest_priority = 19;
constexpr std::chrono::milliseconds retry_interval{100};

}  // namespace

void JobQueue::Slot::release() {
  if (!std::exchange(held_, false)) return;
  const std::lock_guard lock(queue_.mutex_);
  --queue_.used_;
  queue_.changed_.notify_all();
}

void JobQueue::Slot::acquire() {
  if (std::exchange(held_, true)) return;
  Lock lock(queue_.mutex_);
  ++queue_.resuming_;
  queue_.changed_.notify_all();  // a background job may have to make room
  queue_.changed_.wait(lock, [&] { return queue_.used_ < queue_.slots_; });
  --queue_.resuming_;
  ++queue_.used_;
}

unsigned JobQueue::Slot::threads() const {
  const std::lock_guard lock(queue_.mutex_);
  return std::max(1U, queue_.slots_ / std::max(1U, queue_.used_));
}

JobQueue::JobQueue(unsigned slots)
    : slots_(std::max(1U, slots)), dispatcher_([this] { dispatch(); }) {}

JobQueue::~JobQueue() {
  stop();
  dispatcher_.join();
}

void JobQueue::add(std::shared_ptr<Job> job, Priority priority) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      (priority == Priority::foreground ? foreground_ : background_).push_back(std::move(job));
      changed_.notify_all();
      return;
    }
  }
  job->abandon();
}

void JobQueue::promote(const Job* job) {
  const std::lock_guard lock(mutex_);
  if (in_background_.get() == job) {
    promoted_ = true;
    in_background_->preempt();
    return;
  }
  const auto found = std::find_if(background_.begin(), background_.end(),
                                  [&](const auto& queued) { return queued.get() == job; });
  if (found == background_.end()) return;
  foreground_.push_back(std::move(*found));
  background_.erase(found);
  changed_.notify_all();
}

// The list from which a job may start now, or null if none may.
JobQueue::Jobs* JobQueue::next() {
  if (used_ + resuming_ >= slots_ || threads_.size() >= slots_ + waiting_threads) return nullptr;
  if (!foreground_.empty()) return &foreground_;
  return background_.empty() || in_background_ ? nullptr : &background_;
}

bool JobQueue::should_preempt() const {
  return in_background_ && !preempted_ &&
         ((!foreground_.empty() && used_ + resuming_ >= slots_) ||
          (resuming_ > 0 && used_ >= slots_));
}

void JobQueue::dispatch() {
  Lock lock(mutex_);
  for (;;) {
    changed_.wait(
        lock, [&] { return stopped_ || !ended_.empty() || next() != nullptr || should_preempt(); });
    Threads ended;
    ended.swap(ended_);
    if (!ended.empty()) {
      lock.unlock();
      for (std::thread& thread : ended)
        thread.join();
      lock.lock();
      continue;
    }
    if (stopped_) {
      if (threads_.empty()) return;
      changed_.wait(lock, [&] { return !ended_.empty(); });
      continue;
    }
    if (should_preempt()) {
      preempted_ = true;
      in_background_->preempt();
    }
    if (Jobs* const jobs = next()) {
      const Priority priority = jobs == &foreground_ ? Priority::foreground : Priority::background;
      if (start(jobs->front(), priority)) {
        jobs->pop_front();
      } else {
        changed_.wait_for(lock, retry_interval);
      }
    }
  }
}

bool JobQueue::start(const std::shared_ptr<Job>& job, Priority priority) {
  const auto thread = threads_.emplace(threads_.end());
  job->prepare();
  try {
    // The job needs the lock to finish, so it cannot do so before the thread is assigned.
    *thread = std::thread([this, job, priority, thread] { run(job, priority, thread); });
  } catch (const std::system_error& error) {
    log::warn("no thread for a compression: {}", error.what());
    threads_.erase(thread);
    return false;
  }
  ++used_;
  if (priority == Priority::background) {
    in_background_ = job;
    preempted_ = false;
    promoted_ = false;
  }
  return true;
}

void JobQueue::run(const std::shared_ptr<Job>& job, Priority priority, Threads::iterator thread) {
  const bool background = priority == Priority::background;
  if (background) ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), lowest_priority);
  bool ended = false;
  {
    Slot slot(*this);
    slot.held_ = true;
    ended = job->run(slot);
  }
  Lock lock(mutex_);
  if (background) in_background_.reset();
  if (!ended && stopped_) {
    lock.unlock();
    job->abandon();
    lock.lock();
  } else if (!ended) {
    // At the front, because it already had its turn.
    (promoted_ ? foreground_ : background_).push_front(job);
  }
  ended_.splice(ended_.end(), threads_, thread);
  changed_.notify_all();
}

void JobQueue::stop() {
  Jobs waiting;
  Lock lock(mutex_);
  stopped_ = true;
  waiting.swap(foreground_);
  std::move(background_.begin(), background_.end(), std::back_inserter(waiting));
  background_.clear();
  if (in_background_) in_background_->preempt();
  changed_.notify_all();
  lock.unlock();
  for (const auto& job : waiting)
    job->abandon();
  lock.lock();
  changed_.wait(lock, [&] { return threads_.empty(); });
}

JobQueue::Statistics JobQueue::statistics() const {
  const std::lock_guard lock(mutex_);
  return {used_, foreground_.size(), background_.size()};
}

}  // namespace nixbuild::narcache
