#include "server/api/logs.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <variant>

#include "../support/coroutines.hpp"
#include "state.hpp"

using namespace nixbuild;
using namespace nixbuild::api;
using nlohmann::json;
using test::body_text;

namespace {

struct LogsFixture : test::State {
  BuildFeed feed{layout};
  Logs logs{layout, feed};
};

}  // namespace

TEST_CASE("the last lines of the log") {
  LogsFixture f;
  CHECK(body_text(f.logs.tail(f.history, "demo", 5)) == "{\"logs\":[]}");
  f.build_to_the_end("one\ntwo\nthree\n");
  CHECK(body_text(f.logs.tail(f.history, "demo", 2)) == "{\"logs\":[\"two\",\"three\"]}");
}

TEST_CASE("a stream of a build that is not there") {
  LogsFixture f;
  f.build_to_the_end();
  StreamRequest request;
  request.repository = "demo";
  request.build = 7;
  CHECK(f.logs.stream(f.history, request, std::nullopt).status == 404);
  request.repository = "other";
  request.build = 1;
  CHECK(f.logs.stream(f.history, request, std::nullopt).status == 404);
}

TEST_CASE("many lines are read while they are sent, and none is lost") {
  LogsFixture f;
  std::string text;
  for (int i = 0; i < 20'000; ++i)
    text += fmt::format("line {} \"quoted\" ä\tx\n", i);
  f.build_to_the_end(text + "unfinished");
  const auto response = f.logs.tail(f.history, "demo", 10'000);
  CHECK(std::holds_alternative<http::StreamBody>(response.body));
  const json lines = json::parse(body_text(response))["logs"];
  REQUIRE(lines.size() == 10'000);
  CHECK(lines[0] == "line 10000 \"quoted\" ä\tx");
  CHECK(lines[9'999] == "line 19999 \"quoted\" ä\tx");
}

TEST_CASE("a log that becomes shorter while it is sent ends early") {
  LogsFixture f;
  const auto id = f.build_to_the_end(std::string(200'000, 'x') + "\n" + std::string(100'000, '\n'));
  const auto response = f.logs.tail(f.history, "demo", 100'000);
  std::filesystem::resize_file(f.layout.log("demo", id), 10);
  CHECK(json::parse(body_text(response))["logs"].empty());
}

TEST_CASE("a FIFO in a log's place is no log and holds nobody up") {
  LogsFixture f;
  const auto id = f.build_to_the_end();
  std::filesystem::remove(f.layout.log("demo", id));
  REQUIRE(::mkfifo(f.layout.log("demo", id).c_str(), 0600) == 0);
  CHECK(body_text(f.logs.tail(f.history, "demo", 5)) == "{\"logs\":[]}");
  CHECK(f.feed.read_log("demo", id, 0)->events.empty());
}
