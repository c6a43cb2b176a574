#include "server/narcache/job_queue.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../support/eventually.hpp"

using namespace nixbuild;
using namespace nixbuild::narcache;

namespace {

// A counter that threads can wait for.
class Counter {
 public:
  void add() {
    const std::lock_guard lock(mutex_);
    ++value_;
    changed_.notify_all();
  }
  void wait_for(int value) {
    std::unique_lock lock(mutex_);
    CHECK(changed_.wait_for(lock, std::chrono::seconds(30), [&] { return value_ >= value; }));
  }
  int value() {
    const std::lock_guard lock(mutex_);
    return value_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int value_ = 0;
};

class TestJob : public JobQueue::Job {
 public:
  using Work = std::function<bool(JobQueue::Slot&, TestJob&)>;
  explicit TestJob(Work work) : work_(std::move(work)) {}

  bool run(JobQueue::Slot& slot) noexcept override {
    ++runs;
    started.add();
    return work_(slot, *this);
  }
  void prepare() noexcept override { preempted = false; }
  void preempt() noexcept override { preempted = true; }
  void abandon() noexcept override { abandoned = true; }

  std::atomic<int> runs{0};
  std::atomic<bool> preempted{false};
  std::atomic<bool> abandoned{false};
  Counter started;

 private:
  Work work_;
};

std::shared_ptr<TestJob> job(TestJob::Work work) {
  return std::make_shared<TestJob>(std::move(work));
}

bool until_preempted(JobQueue::Slot&, TestJob& self) {
  CHECK(test::eventually([&] { return self.preempted.load(); }));
  return false;
}

}  // namespace

TEST_CASE("no more jobs run at once than there are slots, and all run") {
  JobQueue queue(3);
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  Counter done;
  for (int i = 0; i < 50; ++i) {
    queue.add(job([&](JobQueue::Slot&, TestJob&) {
                const int now = ++running;
                int seen = most;
                while (now > seen && !most.compare_exchange_weak(seen, now)) {
                }
                ::usleep(1000);
                --running;
                done.add();
                return true;
              }),
              i % 4 == 0 ? Priority::background : Priority::foreground);
  }
  done.wait_for(50);
  CHECK(most <= 3);
  CHECK(most >= 2);
}

TEST_CASE("those that somebody waits for come first") {
  JobQueue queue(1);
  Counter gate;
  Counter done;
  std::mutex mutex;
  std::string order;
  const auto first = job([&](JobQueue::Slot&, TestJob&) {
    gate.wait_for(1);
    return true;
  });
  queue.add(first, Priority::foreground);
  first->started.wait_for(1);
  const auto note = [&](char name) {
    return job([&, name](JobQueue::Slot&, TestJob&) {
      const std::lock_guard lock(mutex);
      order += name;
      done.add();
      return true;
    });
  };
  queue.add(note('x'), Priority::background);
  const auto promoted = note('p');
  queue.add(promoted, Priority::background);
  queue.add(note('a'), Priority::foreground);
  queue.add(note('b'), Priority::foreground);
  queue.promote(promoted.get());
  gate.add();
  done.wait_for(4);
  CHECK(order == "abpx");
}

TEST_CASE("a slot that is released lets another run, and is waited for to come back") {
  JobQueue queue(1);
  Counter second_done;
  Counter done;
  queue.add(job([&](JobQueue::Slot& slot, TestJob&) {
              slot.release();
              second_done.wait_for(1);
              slot.acquire();
              done.add();
              return true;
            }),
            Priority::foreground);
  queue.add(job([&](JobQueue::Slot&, TestJob&) {
              second_done.add();
              return true;
            }),
            Priority::foreground);
  done.wait_for(1);
  CHECK(done.value() == 1);
}

TEST_CASE("a background job has the lowest priority, and is run anew when somebody waits for it") {
  JobQueue queue(2);
  std::atomic<int> nice_then{-1};
  std::atomic<int> nice_after{-1};
  Counter done;
  const auto nice = [] { return ::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid())); };
  const int usual = nice();
  const auto background = job([&](JobQueue::Slot& slot, TestJob& self) {
    if (self.runs == 1) {
      nice_then = nice();
      return until_preempted(slot, self);
    }
    nice_after = nice();
    done.add();
    return true;
  });
  queue.add(background, Priority::background);
  background->started.wait_for(1);
  queue.promote(background.get());
  done.wait_for(1);
  CHECK(nice_then == 19);
  CHECK(nice_after == usual);
}

TEST_CASE("a background job makes room when all slots are taken, and has its turn later") {
  JobQueue queue(1);
  Counter done;
  const auto background = job([&](JobQueue::Slot& slot, TestJob& self) {
    if (self.runs == 1) return until_preempted(slot, self);
    done.add();
    return true;
  });
  queue.add(background, Priority::background);
  background->started.wait_for(1);
  queue.add(job([&](JobQueue::Slot&, TestJob&) {
              done.add();
              return true;
            }),
            Priority::foreground);
  done.wait_for(2);
  CHECK(background->runs == 2);
}

TEST_CASE("a background job makes room for one that has waited and goes on") {
  JobQueue queue(1);
  Counter released;
  Counter go_on;
  Counter done;
  queue.add(job([&](JobQueue::Slot& slot, TestJob&) {
              slot.release();
              released.add();
              go_on.wait_for(1);
              slot.acquire();
              done.add();
              return true;
            }),
            Priority::foreground);
  released.wait_for(1);
  const auto background = job([&](JobQueue::Slot& slot, TestJob& self) {
    return done.value() == 1 || until_preempted(slot, self);
  });
  queue.add(background, Priority::background);
  background->started.wait_for(1);
  go_on.add();
  done.wait_for(1);
  background->started.wait_for(2);
}

TEST_CASE("stopping abandons what has not begun and waits for what has") {
  JobQueue queue(1);
  std::atomic<bool> ended{false};
  const auto waiting = job([](JobQueue::Slot&, TestJob&) { return true; });
  const auto running = job([&](JobQueue::Slot&, TestJob&) {
    CHECK(test::eventually([&] { return waiting->abandoned.load(); }));
    ended = true;
    return true;
  });
  const auto behind = job([](JobQueue::Slot&, TestJob&) { return true; });
  queue.add(running, Priority::foreground);
  running->started.wait_for(1);
  queue.add(waiting, Priority::foreground);
  queue.add(behind, Priority::background);
  queue.stop();
  CHECK(ended);
  CHECK_FALSE(running->abandoned);
  CHECK(waiting->abandoned);
  CHECK(behind->abandoned);
  CHECK(waiting->runs == 0);
  const auto late = job([](JobQueue::Slot&, TestJob&) { return true; });
  queue.add(late, Priority::foreground);
  CHECK(late->abandoned);
}

TEST_CASE("a preempted job that is stopped meanwhile is abandoned") {
  JobQueue queue(1);
  const auto background = job(until_preempted);
  queue.add(background, Priority::background);
  background->started.wait_for(1);
  background->preempt();
  queue.stop();
  CHECK(background->abandoned);
}
