#include "server/api/triggers.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "../support/coroutines.hpp"
#include "server/history/build_lock.hpp"
#include "state.hpp"

using namespace nixbuild;
using namespace nixbuild::api;
using nlohmann::json;
using test::body_text;

namespace {

// Records the calls.
class NotingRunner : public Runner {
 public:
  const char* name() const noexcept override { return "noting"; }
  void start(const std::string& /*repository*/, std::int64_t build) override {
    if (refuses) throw RunnerError("systemd does not answer");
    started.push_back(build);
  }
  void stop(const std::string& repository) override {
    if (refuses) throw RunnerError("systemd does not answer");
    stopped.push_back(repository);
  }

  bool refuses = false;
  std::vector<std::int64_t> started;
  std::vector<std::string> stopped;
};

struct TriggersFixture : test::State {
  json trigger() {
    return json::parse(body_text(triggers.trigger(history, {"demo", "ann", "100.64.0.2"}, 1)));
  }
  json cancel(std::optional<std::int64_t> build = std::nullopt) {
    return json::parse(body_text(triggers.cancel(history, "demo", build)));
  }

  NotingRunner runner;
  BuildFeed feed{layout};
  Triggers triggers{layout, runner, feed};
};

}  // namespace

TEST_CASE("one build a repository") {
  TriggersFixture f;
  CHECK(f.trigger()["status"] == "triggered");
  const json again = f.trigger();
  CHECK(again["status"] == "already_running");
  CHECK(again["build_id"] == 1);
  CHECK(f.runner.started == std::vector<std::int64_t>{1});
  f.history.finish(1, std::nullopt, now());
  CHECK(f.trigger()["build_id"] == 2);
}

TEST_CASE("a build that cannot be started has failed, and is no hindrance") {
  TriggersFixture f;
  f.runner.refuses = true;
  CHECK_THROWS_AS(f.trigger(), RunnerError);
  CHECK(f.history.get(1)->state == protocol::BuildState::failed);
  CHECK(f.history.get(1)->error == "could not be started: systemd does not answer");
  f.runner.refuses = false;
  CHECK(f.trigger()["build_id"] == 2);
}

TEST_CASE("what is dead is no hindrance either") {
  TriggersFixture f;
  f.trigger();
  f.history.set_running(1, now());
  CHECK(f.trigger()["build_id"] == 2);
  CHECK(f.history.get(1)->error == "interrupted");
}

TEST_CASE("cancelling") {
  TriggersFixture f;
  CHECK(f.cancel()["status"] == "not_running");
  CHECK(f.runner.stopped.empty());
  f.trigger();
  const json other = f.cancel(7);
  CHECK(other["status"] == "not_running");
  CHECK(other["message"] == "Build #7 of demo is not running");
  CHECK(f.cancel(1)["status"] == "cancelled");
  CHECK(f.runner.stopped.size() == 1);
  // Nobody had started it.
  CHECK(f.history.get(1)->state == protocol::BuildState::cancelled);
  CHECK(f.history.get(1)->error == "cancelled");
  CHECK(f.history.get(1)->finish);

  f.trigger();
  const auto lock = history::FileLock::try_take(f.layout.lock("demo"));
  CHECK(f.cancel()["status"] == "cancelled");
  // It reads as cancelled at once, and whoever runs it ends it.
  CHECK(f.history.get(2)->state == protocol::BuildState::cancelled);
  CHECK_FALSE(f.history.get(2)->finish);
}

TEST_CASE("a trigger after the fetch has begun names the build that follows") {
  TriggersFixture f;
  f.trigger();
  const auto lock = history::FileLock::try_take(f.layout.lock("demo"));
  f.history.set_running(1, now());
  CHECK_FALSE(f.trigger().contains("queued_build_id"));
  f.history.begin_phase(1, "fetch", now());
  for (int i = 0; i < 2; ++i) {
    const json late = f.trigger();
    CHECK(late["status"] == "already_running");
    CHECK(late["message"] == "Build #1 of demo is already running; build #2 follows");
    CHECK(late["build_id"] == 1);
    CHECK(late["queued_build_id"] == 2);
  }
  // run-build takes it after the first.
  CHECK(f.runner.started == std::vector<std::int64_t>{1});

  CHECK(f.cancel(2)["message"] == "Build #2 of demo was cancelled");
  CHECK(f.runner.stopped.empty());
  CHECK(f.history.get(2)->state == protocol::BuildState::cancelled);
  CHECK(f.history.get(2)->finish);
  CHECK(f.cancel(2)["status"] == "not_running");
  CHECK(f.history.get(1)->state == protocol::BuildState::running);
  CHECK(f.trigger()["queued_build_id"] == 3);
}

TEST_CASE("the answer names the build that has to end first") {
  TriggersFixture f;
  CHECK(f.trigger()["queued_behind"].is_null());
  const auto trigger = [&f](const char* repository, int max_parallel) {
    return json::parse(
        body_text(f.triggers.trigger(f.history, {repository, "ann", ""}, max_parallel)));
  };
  CHECK(trigger("second", 1)["queued_behind"] == 1);
  CHECK(trigger("third", 3)["queued_behind"].is_null());
  CHECK(trigger("fourth", 3)["queued_behind"] == 3);
}

TEST_CASE("who triggers is made fit for a table") {
  CHECK(cleaned_user("ann@laptop") == "ann@laptop");
  CHECK(cleaned_user("a\x1b[31mb\tc\n").find_first_of("\x1b\t\n") == std::string::npos);
  CHECK(cleaned_user(std::string(1000, 'x')).size() == 128);
}

TEST_CASE("many at once start one build") {
  TriggersFixture f;
  std::vector<std::thread> clients;
  std::vector<std::string> said(8);
  for (std::size_t i = 0; i < said.size(); ++i) {
    clients.emplace_back([&f, &said, i] {
      history::History history(f.layout.history());
      said[i] = body_text(f.triggers.trigger(history, {"demo", "", ""}, 1));
    });
  }
  for (std::thread& client : clients)
    client.join();
  CHECK(f.runner.started.size() == 1);
  CHECK(f.history.list({"demo", {}, {}}, 100, std::nullopt).builds.size() == 1);
}

TEST_CASE("who triggers too often is told when to come back") {
  TriggersFixture f;
  int refused = 0;
  for (int i = 0; i < 200; ++i) {
    const auto response = f.triggers.trigger(f.history, {"demo", "", "100.64.0.9"}, 1);
    if (response.status != 429) continue;
    ++refused;
    CHECK(json::parse(body_text(response))["detail"].get<std::string>().find("too often") !=
          std::string::npos);
    REQUIRE(response.headers.size() == 1);
    CHECK(response.headers[0].first == "Retry-After");
    CHECK(response.headers[0].second == "1");
  }
  CHECK(refused > 90);
  // Other clients are not affected.
  CHECK(f.triggers.trigger(f.history, {"demo", "", "100.64.0.8"}, 1).status == 200);
}

TEST_CASE("rounds of triggering and cancelling make few builds") {
  TriggersFixture f;
  unsigned last = 200;
  for (int i = 0; i < 300 && last == 200; ++i) {
    last = f.triggers.trigger(f.history, {"demo", "", std::to_string(i)}, 1).status;
    f.triggers.cancel(f.history, "demo", std::nullopt);
  }
  CHECK(last == 429);
  CHECK(f.history.current("demo")->id < 60);
  CHECK(f.triggers.trigger(f.history, {"other", "", "x"}, 1).status == 200);
}
