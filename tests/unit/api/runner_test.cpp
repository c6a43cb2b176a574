#include "server/api/runner.hpp"

#include <doctest/doctest.h>

#include <cstdlib>

#include "server/history/build_lock.hpp"
#include "state.hpp"

using namespace nixbuild;
using namespace nixbuild::api;

namespace {

// Disables the bus, whatever machine this is.
struct WithoutBus : test::State {
  WithoutBus() { ::setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1); }
  ~WithoutBus() { ::unsetenv("DBUS_SYSTEM_BUS_ADDRESS"); }
};

}  // namespace

TEST_CASE_FIXTURE(WithoutBus, "the runner that is asked for") {
  CHECK(std::string(make_runner(config::Runner::local, layout, {})->name()) == "local");
  CHECK(std::string(make_runner(config::Runner::automatic, layout, {})->name()) == "local");
#ifdef NIXBUILD_SYSTEMD
  const auto runner = make_runner(config::Runner::systemd, layout, {});
  CHECK(std::string(runner->name()) == "systemd");
  CHECK_THROWS_AS(runner->start("demo", 1), RunnerError);
  CHECK_THROWS_AS(runner->stop("demo"), RunnerError);
#else
  CHECK_THROWS_AS(make_runner(config::Runner::systemd, layout, {}), UsageError);
#endif
}

TEST_CASE("a build that nobody has begun") {
  test::State state;
  const auto id = state.queue();
  CHECK(awaits_start(state.layout, "demo", id));
  CHECK_FALSE(awaits_start(state.layout, "demo", id + 1));
  {
    const auto lock = history::FileLock::try_take(state.layout.lock("demo"));
    CHECK_FALSE(awaits_start(state.layout, "demo", id));
    fail_unstarted(state.layout, "demo", id, []() -> std::string {
      FAIL("not asked for");
      return {};
    });
  }
  // How an earlier build's runner ended does not matter.
  fail_unstarted(state.layout, "demo", id - 1, [] { return std::string("wrong"); });
  CHECK(state.history.get(id)->state == protocol::BuildState::queued);
  fail_unstarted(state.layout, "demo", id, [] { return std::string("no such user"); });
  CHECK(state.history.get(id)->error == "no such user");
  CHECK_FALSE(awaits_start(state.layout, "demo", id));
}
