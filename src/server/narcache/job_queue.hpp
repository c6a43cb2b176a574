// Runs compressions, as many at once as there are slots. The others are queued in order; those that
// a client waits for come before background jobs.
//
// Each job runs on its own thread. A background job's thread has the lowest system priority, which
// neither it nor its child threads could raise again. So if a client starts to wait for the running
// background job, or all slots are taken and a foreground job needs one, the background job is
// asked to stop and is run again later.
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

    // Lets another job run while this one only waits (for a client or the disk).
    void release();
    void acquire();  // waits, with priority over jobs that have not started
    // How many threads the job should use.
    unsigned threads() const;

   private:
    friend class JobQueue;
    JobQueue& queue_;
    bool held_ = false;
  };

  class Job {
   public:
    virtual ~Job() = default;
    // Called before each run(), and before any preempt() of that run.
    virtual void prepare() noexcept {}
    // Returns false if it stopped because of preempt(); it is then run again. Must not throw.
    virtual bool run(Slot& slot) noexcept = 0;
    // Called from another thread: run() should return false soon. Only for a background job.
    virtual void preempt() noexcept = 0;
    // The job will not be run, because the queue was stopped.
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
  // Moves a background job to the foreground; does nothing if it is already there.
  void promote(const Job* job);
  // Abandons jobs that have not started, preempts the background job and waits for all to end. The
  // caller must first have told the foreground jobs to stop.
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
  bool promoted_ = false;               // in_background_ moves to the foreground when it stops
  bool preempted_ = false;              // in_background_ has been asked to stop
  unsigned used_ = 0;                   // slots
  unsigned resuming_ = 0;               // running jobs waiting for a slot
  Threads threads_;
  Threads ended_;  // to be joined
  bool stopped_ = false;
  std::thread dispatcher_;  // starts the jobs' threads, which inherit its priority at first
};

}  // namespace nixbuild::narcache
