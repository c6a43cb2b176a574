#include "server/api/builds.hpp"

#include <doctest/doctest.h>

#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "../support/coroutines.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "state.hpp"

using namespace nixbuild;
using namespace nixbuild::api;
using nlohmann::json;
using test::body_text;

TEST_CASE("builds are listed newest first, a page at a time") {
  test::State state;
  Builds builds(state.layout);
  for (int i = 0; i < 3; ++i)
    state.build_to_the_end();
  const auto page =
      json::parse(body_text(builds.list(state.history, {"demo", {}, {}}, 2, std::nullopt)));
  REQUIRE(page["builds"].size() == 2);
  CHECK(page["builds"][0]["id"] == 3);
  CHECK(page["builds"][0]["triggered_by"] == "ann");
  CHECK(page["next_before"] == 2);
  const auto rest = json::parse(body_text(builds.list(state.history, {}, 2, 2)));
  CHECK(rest["builds"].size() == 1);
  CHECK(rest["next_before"].is_null());
  CHECK(json::parse(
            body_text(builds.list(state.history, {"other", {}, {}}, 2, std::nullopt)))["builds"]
            .empty());
}

TEST_CASE("what is not in the history is 404") {
  test::State state;
  Builds builds(state.layout);
  for (const auto& response : {builds.one(state.history, 7), builds.lock(state.history, 7),
                               builds.log(state.history, 7)}) {
    CHECK(response.status == 404);
    CHECK(json::parse(body_text(response))["detail"].get<std::string>().find("#7") !=
          std::string::npos);
  }
  const auto id = state.queue();
  CHECK(builds.one(state.history, id).status == 200);
  CHECK(builds.log(state.history, id).status == 404);
  CHECK(builds.lock(state.history, id).status == 404);
}

TEST_CASE("a log is sent as it is now") {
  test::State state;
  Builds builds(state.layout);
  const auto id = state.build_to_the_end("some\nlines\n");
  const auto response = builds.log(state.history, id);
  CHECK(response.accept_ranges);
  CHECK(body_text(response) == "some\nlines\n");
  CHECK(body_text(response, 5, 5) == "lines");
}

TEST_CASE("the lock that was built with") {
  test::State state;
  Builds builds(state.layout);
  const auto id = state.queue();
  state.history.set_lock(id, "{\"nodes\": {}}");
  CHECK(body_text(builds.lock(state.history, id)) == "{\"nodes\": {}}");
}

TEST_CASE("how a build ended is known once it has") {
  test::State state;
  const auto id = state.queue();
  CHECK_FALSE(Builds::ended_status(state.history, id));
  state.history.finish(id, "it broke", now());
  const auto status = json::parse(*Builds::ended_status(state.history, id));
  CHECK(status["last_status"] == "failed");
  CHECK(status["error"] == "it broke");
  CHECK_THROWS_AS(Builds::ended_status(state.history, 99), Error);
}

TEST_CASE("what lies in a log's place is not sent") {
  test::State state;
  Builds builds(state.layout);
  const auto id = state.build_to_the_end("log\n");
  const auto log = state.layout.log("demo", id);
  const auto secret = state.directory.path() / "secret";
  write_file_atomic(secret, "key", 0600);
  std::filesystem::remove(log);
  SUBCASE("a link") {
    std::filesystem::create_symlink(secret, log);
  }
  SUBCASE("a FIFO") {
    REQUIRE(::mkfifo(log.c_str(), 0600) == 0);
  }
  SUBCASE("a directory") {
    std::filesystem::create_directory(log);
  }
  SUBCASE("a directory that is a link") {
    std::filesystem::remove_all(log.parent_path());
    std::filesystem::create_directory(state.directory.path() / "elsewhere");
    std::filesystem::copy_file(secret, state.directory.path() / "elsewhere" / log.filename());
    std::filesystem::create_directory_symlink(state.directory.path() / "elsewhere",
                                              log.parent_path());
  }
  CHECK(builds.log(state.history, id).status == 404);
}
