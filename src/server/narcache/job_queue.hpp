// Runs compressions: so many at once as there are slots, the rest in order, those that somebody
// waits for before those in the background.
//
// Each job runs on a thread of its own. A background job's thread has the lowest priority that the
// system knows, which neither it nor a thread that it starts could get rid of again; so when
// somebody does wait for a job that runs in the background, or all slots are taken and one is
// wanted for somebody who waits, the job is asked to stop and is run anew.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

namespace nixbuild::narcache {

enum class Priority { foreground, background };

class JobQueue {
 public:
  // A running job's right to use a processor.
  class Slot {
   public:
    explicit Slot(JobQueue& queue) : queue_(queue) {}
    ~Slot() { release(); }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

    // While the job only waits (for a client, for the disk) another may run.
    void release();
    void acquire();  // waits, ahead of the jobs that have not begun
    // How many threads the job should use for itself.
    unsigned threads() const;

   private:
    friend class JobQueue;
    JobQueue& queue_;
    bool held_ = false;
  };

  class Job {
   public:
    virtual ~Job() = default;
    // Before each run(), and before any preempt() that means that run.
    virtual void prepare() noexcept {}
    // False when it stopped because preempt() asked it to; it is then run again. Throws nothing.
    virtual bool run(Slot& slot) noexcept = 0;
    // From another thread: run() should return false soon. Only for a background job.
    virtual void preempt() noexcept = 0;
    // It will not be run: the queue was stopped.
    virtual void abandon() noexcept = 0;
  };

  struct Statistics {
    std::uint64_t running = 0;
    std::uint64_t queued = 0;  // in the foreground
    std::uint64_t queued_background = 0;
  };

  explicit JobQueue(unsigned slots);
  ~JobQueue();
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  void add(std::shared_ptr<Job> job, Priority priority);
  // A job added in the background comes to the foreground; nothing when it is there already.
  void promote(const Job* job);
  // Abandons what has not begun, preempts what runs in the background and waits for all to end:
  // whoever calls this has told the jobs of the foreground to stop.
  void stop();

  unsigned slots() const noexcept { return slots_; }
  Statistics statistics() const;

 private:
  using Lock = std::unique_lock<std::mutex>;
  using Threads = std::list<std::thread>;
  using Jobs = std::deque<std::shared_ptr<Job>>;

  void dispatch();
  // With the lock held:
  Jobs* next();
  bool should_preempt() const;
  bool start(const std::shared_ptr<Job>& job, Priority priority);
  void run(const std::shared_ptr<Job>& job, Priority priority, Threads::iterator thread);

  const unsigned slots_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Jobs foreground_;
  Jobs background_;
  std::shared_ptr<Job> in_background_;  // at most one runs at a time
  bool promoted_ = false;               // in_background_ goes to the foreground when it stops
  bool preempted_ = false;              // in_background_ has been asked to stop
  unsigned used_ = 0;                   // slots
  unsigned resuming_ = 0;               // running jobs that wait for a slot
  Threads threads_;
  Threads ended_;  // to be joined
  bool stopped_ = false;
  std::thread dispatcher_;  // starts the jobs' threads, which have its priority at first
};

}  // namespace nixbuild::narcache
