#include "server/api/live_status.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "state.hpp"

using namespace nixbuild;

TEST_CASE("a status is rendered once for each change") {
  test::State state;
  api::LiveStatus status(state.layout);
  const auto before = status.json("demo", 0);
  CHECK(nlohmann::json::parse(*before)["build_id"].is_null());
  CHECK(status.json("demo", 0) == before);

  const auto id = state.queue();
  const auto queued = nlohmann::json::parse(*status.json("demo", 1));
  CHECK(queued["build_id"] == id);
  CHECK(queued["phase"] == "queued");
  CHECK(queued["is_running"] == true);

  state.history.finish(id, "cancelled", now());
  CHECK(nlohmann::json::parse(*status.json("demo", 2))["error"] == "cancelled");
  // A queued build may turn out to be dead at any second, so the first answer after it is not
  // cached.
  const auto ended = status.json("demo", 3);
  CHECK(status.json("demo", 4) == ended);
  // Another repository's build must not show up here.
  state.queue("other");
  CHECK(*status.json("demo", 5) == *ended);
}

TEST_CASE("what other processes do to a build is seen within moments") {
  test::State state;
  api::LiveStatus status(state.layout);
  status.json("demo", 0);
  state.queue();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  CHECK(nlohmann::json::parse(*status.json("demo", 0))["phase"] == "queued");
}
