#include "server/api/history_answers.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "../support/coroutines.hpp"
#include "common/base/error.hpp"
#include "state.hpp"

using namespace nixbuild;
using namespace nixbuild::api;
using nlohmann::json;
using test::body_text;

TEST_CASE("builds are listed newest first, a page at a time") {
  test::State state;
  for (int i = 0; i < 3; ++i)
    state.build_to_the_end();
  const auto page = json::parse(body_text(list_builds(state.history, "demo", 2, std::nullopt)));
  REQUIRE(page["builds"].size() == 2);
  CHECK(page["builds"][0]["id"] == 3);
  CHECK(page["builds"][0]["triggered_by"] == "ann");
  CHECK(page["next_before"] == 2);
  const auto rest = json::parse(body_text(list_builds(state.history, "", 2, 2)));
  CHECK(rest["builds"].size() == 1);
  CHECK(rest["next_before"].is_null());
  CHECK(json::parse(body_text(list_builds(state.history, "other", 2, std::nullopt)))["builds"]
            .empty());
}

TEST_CASE("what is not in the history is 404") {
  test::State state;
  for (const auto& response : {one_build(state.history, 7), lock_of_build(state.history, 7),
                               log_of_build(state.history, state.layout, 7)}) {
    CHECK(response.status == 404);
    CHECK(json::parse(body_text(response))["detail"].get<std::string>().find("#7") !=
          std::string::npos);
  }
  const auto id = state.queue();
  CHECK(one_build(state.history, id).status == 200);
  CHECK(log_of_build(state.history, state.layout, id).status == 404);
  CHECK(lock_of_build(state.history, id).status == 404);
}

TEST_CASE("a log is sent as it is now") {
  test::State state;
  const auto id = state.build_to_the_end("some\nlines\n");
  const auto response = log_of_build(state.history, state.layout, id);
  CHECK(response.accept_ranges);
  CHECK(body_text(response) == "some\nlines\n");
  CHECK(body_text(response, 5, 5) == "lines");
}

TEST_CASE("the lock that was built with") {
  test::State state;
  const auto id = state.queue();
  state.history.set_lock(id, "{\"nodes\": {}}");
  CHECK(body_text(lock_of_build(state.history, id)) == "{\"nodes\": {}}");
}

TEST_CASE("how a build ended is known once it has") {
  test::State state;
  const auto id = state.queue();
  CHECK_FALSE(ended_status_json(state.history, id));
  state.history.finish(id, "it broke", now());
  const auto status = json::parse(*ended_status_json(state.history, id));
  CHECK(status["last_status"] == "failed");
  CHECK(status["error"] == "it broke");
  CHECK_THROWS_AS(ended_status_json(state.history, 99), Error);
}
