#include "server/history/build_lock.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "../support/eventually.hpp"
#include "../support/temporary_directory.hpp"
#include "common/base/time.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"

using namespace nixbuild;
using namespace nixbuild::history;

TEST_CASE("a lock has one holder, and goes with it") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "l";
  CHECK_FALSE(is_locked(file));
  {
    const auto lock = FileLock::try_take(file);
    REQUIRE(lock);
    CHECK(is_locked(file));
    CHECK_FALSE(FileLock::try_take(file));
  }
  CHECK_FALSE(is_locked(file));
  CHECK(FileLock::try_take(file));
}

TEST_CASE("probing neither takes nor makes a lock") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "l";
  LockProbe probe(file);
  CHECK_FALSE(probe.is_locked());
  CHECK_FALSE(std::filesystem::exists(file));
  auto lock = FileLock::try_take(file);
  REQUIRE(lock);
  CHECK(probe.is_locked());
  lock.reset();
  CHECK_FALSE(probe.is_locked());
  CHECK(FileLock::try_take(file));

  // A file that was removed and created again is another one.
  std::filesystem::remove(file);
  const auto again = FileLock::try_take(file);
  CHECK(probe.is_locked());
}

TEST_CASE("a program that was started does not inherit the lock") {
  const test::TemporaryDirectory directory;
  const auto file = directory.path() / "l";
  auto lock = FileLock::try_take(file);
  REQUIRE(lock);
  const pid_t child = ::fork();
  if (child == 0) {
    ::execlp("sleep", "sleep", "20", nullptr);
    ::_exit(127);
  }
  lock.reset();
  // The kernel drops the lock with the last copy of the descriptor; the child has one until exec.
  CHECK(test::eventually([&] { return !is_locked(file); }, std::chrono::seconds(10)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST_CASE("slots are given in the order of the builds' numbers") {
  const test::TemporaryDirectory directory;
  const StateLayout layout(directory.path());
  layout.create();
  History history(layout.history());
  const auto a = history.insert_queued({"a", "", ""}).id;
  const auto b = history.insert_queued({"b", "", ""}).id;
  const auto keep_waiting_once = [] { return [left = 1]() mutable { return left-- > 0; }; };

  // `a` came first, although nobody runs it yet.
  CHECK_FALSE(wait_for_slot(layout, history, b, 1, keep_waiting_once()));
  auto slot = wait_for_slot(layout, history, a, 1, keep_waiting_once());
  CHECK(slot);
  history.set_running(a, now());
  CHECK_FALSE(wait_for_slot(layout, history, b, 1, keep_waiting_once()));
  CHECK(wait_for_slot(layout, history, b, 2, keep_waiting_once()));
  slot.reset();
  CHECK(wait_for_slot(layout, history, b, 1, keep_waiting_once()));
}
