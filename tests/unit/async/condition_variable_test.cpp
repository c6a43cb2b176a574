#include "server/async/condition_variable.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <exception>
#include <memory>
#include <thread>

#include "server/async/per_thread.hpp"

using namespace nixbuild::async;
using namespace std::chrono_literals;

namespace asio = boost::asio;

namespace {

// Runs a coroutine to its end, and rethrows its exception.
void run(asio::io_context& context, asio::awaitable<void> coroutine) {
  std::exception_ptr thrown;
  asio::co_spawn(context, std::move(coroutine),
                 [&](const std::exception_ptr& error) { thrown = error; });
  context.run();
  if (thrown) std::rethrow_exception(thrown);
}

asio::awaitable<void> wait_for(ConditionVariable& changed, std::function<bool()> condition,
                               int& ended) {
  asio::awaitable<void> waiting = changed.wait(std::move(condition));
  co_await std::move(waiting);
  ++ended;
}

asio::awaitable<void> wait_until(ConditionVariable& changed, Waiter::TimePoint deadline,
                                 std::function<bool()> condition, bool& held) {
  asio::awaitable<bool> waiting = changed.wait_until(deadline, std::move(condition));
  held = co_await std::move(waiting);
}

}  // namespace

TEST_CASE("a condition that holds is not waited for") {
  asio::io_context context(1);
  ConditionVariable changed;
  int ended = 0;
  run(context, wait_for(
                   changed, [] { return true; }, ended));
  CHECK(ended == 1);
}

TEST_CASE("another thread's change wakes every coroutine, and none before its condition holds") {
  ConditionVariable changed;
  std::atomic<int> value{0};
  asio::io_context context(1);
  int ended = 0;
  for (int wanted = 1; wanted <= 50; ++wanted) {
    asio::co_spawn(context,
                   wait_for(
                       changed, [&value, wanted] { return value >= wanted; }, ended),
                   asio::detached);
  }
  std::thread changer([&] {
    for (int i = 0; i < 50; ++i) {
      ++value;
      changed.notify_all();
    }
  });
  context.run();  // returns when all have ended
  changer.join();
  CHECK(ended == 50);
}

TEST_CASE("waiting ends at its deadline, or when the condition holds before") {
  ConditionVariable changed;
  bool held = true;
  {
    asio::io_context context(1);
    run(context, wait_until(
                     changed, std::chrono::steady_clock::now() + 20ms, [] { return false; }, held));
    CHECK_FALSE(held);
  }
  std::atomic<bool> done{false};
  asio::io_context context(1);
  std::thread changer([&] {
    done = true;
    changed.notify_all();
  });
  run(context,
      wait_until(
          changed, std::chrono::steady_clock::now() + 30s, [&] { return done.load(); }, held));
  changer.join();
  CHECK(held);
}

TEST_CASE("a coroutine that is destroyed while it waits is no longer woken") {
  ConditionVariable changed;
  auto context = std::make_unique<asio::io_context>(1);
  int ended = 0;
  asio::co_spawn(*context,
                 wait_for(
                     changed, [] { return false; }, ended),
                 asio::detached);
  context->poll();
  context.reset();
  changed.notify_all();
  CHECK(ended == 0);
}

TEST_CASE("each thread has an object of its own") {
  std::atomic<int> made{0};
  PerThread<int> objects([&] { return std::make_unique<int>(++made); });
  int* const mine = &objects.get();
  CHECK(&objects.get() == mine);
  int* theirs = nullptr;
  std::thread([&] { theirs = &objects.get(); }).join();
  CHECK(theirs != mine);
  CHECK(made == 2);
}
