#include "server/cache/job_queue.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <system_error>
#include <utility>

#include "common/base/log.hpp"

namespace nixbuild::cache {
namespace {

// Jobs that have begun and wait for their client or the disk, beyond those that hold a slot.
constexpr unsigned waiting_threads = 32;
constexpr int lowest_priority = 19;

}  // namespace

void JobQueue::Slot::release() {
  if (!std::exchange(held_, false)) return;
  Lock lock(queue_.mutex_);
  --queue_.used_;
  queue_.changed_.notify_all();
  queue_.start_jobs(lock);
}

void JobQueue::Slot::acquire() {
  if (std::exchange(held_, true)) return;
  Lock lock(queue_.mutex_);
  ++queue_.resuming_;
  queue_.changed_.wait(lock, [&] { return queue_.used_ < queue_.slots_; });
  --queue_.resuming_;
  ++queue_.used_;
}

unsigned JobQueue::Slot::threads() const {
  const std::lock_guard lock(queue_.mutex_);
  return std::max(1U, queue_.slots_ / std::max(1U, queue_.used_));
}

JobQueue::JobQueue(unsigned slots) : slots_(std::max(1U, slots)) {}

JobQueue::~JobQueue() {
  stop();
}

void JobQueue::add(std::shared_ptr<Job> job, Priority priority) {
  join_ended();
  Lock lock(mutex_);
  if (stopped_) {
    lock.unlock();
    job->abandon();
    return;
  }
  (priority == Priority::foreground ? foreground_ : background_).push_back(std::move(job));
  start_jobs(lock);
}

void JobQueue::promote(const Job* job) {
  Lock lock(mutex_);
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
  start_jobs(lock);
}

// The lock is held at the beginning and the end, and released meanwhile when a job must be
// abandoned.
void JobQueue::start_jobs(Lock& lock) {
  while (!stopped_ && used_ + resuming_ < slots_ && threads_.size() < slots_ + waiting_threads) {
    const bool from_foreground = !foreground_.empty();
    if (!from_foreground && (background_.empty() || in_background_)) return;
    auto& queue = from_foreground ? foreground_ : background_;
    auto job = std::move(queue.front());
    queue.pop_front();
    if (start(job, from_foreground ? Priority::foreground : Priority::background)) continue;
    if (!threads_.empty()) {  // no more threads for now: it comes when one ends
      queue.push_front(std::move(job));
      return;
    }
    lock.unlock();
    job->abandon();
    lock.lock();
  }
  if (!foreground_.empty() && in_background_) in_background_->preempt();
}

bool JobQueue::start(const std::shared_ptr<Job>& job, Priority priority) {
  const auto thread = threads_.emplace(threads_.end());
  try {
    *thread = std::thread([this, job, priority, thread] { run(job, priority, thread); });
  } catch (const std::system_error& error) {
    log::warn("no thread for a compression: {}", error.what());
    threads_.erase(thread);
    return false;
  }
  ++used_;
  if (priority == Priority::background) in_background_ = job;
  return true;
}

void JobQueue::run(const std::shared_ptr<Job>& job, Priority priority, Threads::iterator thread) {
  const bool background = priority == Priority::background;
  // Of this thread alone, and of the threads that it will start.
  if (background) ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), lowest_priority);
  bool ended = false;
  {
    Slot slot(*this);
    slot.held_ = true;
    ended = job->run(slot);
  }
  Lock lock(mutex_);
  if (background) {
    in_background_.reset();
    const bool promoted = std::exchange(promoted_, false);
    // In front: it had its turn already.
    if (!ended && !stopped_) (promoted ? foreground_ : background_).push_front(job);
  }
  if (!ended && stopped_) {
    lock.unlock();
    job->abandon();
    lock.lock();
  }
  ended_.splice(ended_.end(), threads_, thread);
  start_jobs(lock);
  changed_.notify_all();
}

void JobQueue::stop() {
  Lock lock(mutex_);
  stopped_ = true;
  std::deque<std::shared_ptr<Job>> waiting;
  waiting.swap(foreground_);
  std::move(background_.begin(), background_.end(), std::back_inserter(waiting));
  background_.clear();
  lock.unlock();
  for (const auto& job : waiting)
    job->abandon();
  lock.lock();
  changed_.wait(lock, [&] { return threads_.empty(); });
  lock.unlock();
  join_ended();
}

// Without the lock, which they may need once more.
void JobQueue::join_ended() {
  Threads ended;
  {
    const std::lock_guard lock(mutex_);
    ended.swap(ended_);
  }
  for (std::thread& thread : ended)
    thread.join();
}

JobQueue::Statistics JobQueue::statistics() const {
  const std::lock_guard lock(mutex_);
  return {used_, foreground_.size(), background_.size()};
}

}  // namespace nixbuild::cache
