#include "server/api/event_stream.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "../support/coroutines.hpp"
#include "../support/eventually.hpp"
#include "server/api/builds.hpp"
#include "state.hpp"

using namespace nixbuild;
using namespace nixbuild::api;
using nlohmann::json;

namespace {

boost::asio::awaitable<std::optional<std::string>> at_once(std::optional<std::string> text) {
  co_return text;
}

struct Event {
  std::string name;
  std::string id;
  std::string data;
};

std::vector<Event> parsed(std::string_view text) {
  std::vector<Event> events;
  while (!text.empty()) {
    const std::size_t end = text.find("\n\n");
    REQUIRE(end != std::string_view::npos);
    std::string_view lines = text.substr(0, end);
    text.remove_prefix(end + 2);
    Event event;
    while (!lines.empty()) {
      const std::string_view line = lines.substr(0, lines.find('\n'));
      lines.remove_prefix(std::min(line.size() + 1, lines.size()));
      for (const auto& [prefix, field] :
           {std::pair{"event: ", &event.name}, std::pair{"id: ", &event.id},
            std::pair{"data: ", &event.data}}) {
        if (line.starts_with(prefix)) *field = line.substr(std::string_view(prefix).size());
      }
    }
    events.push_back(event);
  }
  return events;
}

struct EventStreamFixture : test::State {
  StreamRequest request(std::optional<std::int64_t> build) {
    StreamRequest request;
    request.repository = "demo";
    request.build = build;
    request.ended_status = [this](std::int64_t id) {
      return at_once(Builds::ended_status(history, id));
    };
    return request;
  }
  std::vector<Event> events(StreamRequest asked) {
    return parsed(test::body_text(event_stream_response(feed, std::move(asked))));
  }

  BuildFeed feed{layout};
};

}  // namespace

TEST_CASE("an event's id") {
  CHECK(parse_event_id("12:345")->build == 12);
  CHECK(parse_event_id("12:345")->offset == 345);
  CHECK(parse_event_id("1:0")->offset == 0);
  for (const char* bad : {"", ":", "1", "1:", ":1", "0:1", "-1:1", "1:-1", "1:1x", "x:1", "1 :1",
                          "1:99999999999999999999", "99999999999999999999:1", "1:1:1"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_event_id(bad));
  }
}

TEST_CASE("a build that has ended, all at once") {
  EventStreamFixture f;
  const auto id = f.build_to_the_end("one\n\ntwo: x\n");
  const auto events = f.events(f.request(id));
  REQUIRE(events.size() == 5);
  CHECK(events[0].name == "status");
  CHECK(events[1].name == "log");
  CHECK(events[1].id == "1:4");
  CHECK(events[1].data == "one");
  CHECK(events[2].id == "1:5");
  CHECK(events[2].data.empty());
  CHECK(events[3].id == "1:12");
  CHECK(events[3].data == "two: x");
  CHECK(events[4].name == "end");
  CHECK(json::parse(events[4].data)["last_status"] == "success");
}

TEST_CASE("resumed behind a line, and without the log") {
  EventStreamFixture f;
  auto request = f.request(f.build_to_the_end());
  request.offset = 4;
  auto events = f.events(request);
  REQUIRE(events.size() == 3);
  CHECK(events[1].id == "1:8");
  CHECK(events[1].data == "two");
  request.offset = 8;
  CHECK(f.events(request).size() == 2);
  request.offset = 1000;  // after the end
  CHECK(f.events(request).size() == 2);
  request.offset = 0;
  request.with_log = false;
  CHECK(f.events(request).size() == 2);
}

TEST_CASE("a repository that was never built") {
  EventStreamFixture f;
  const auto events = f.events(f.request(std::nullopt));
  REQUIRE_FALSE(events.empty());
  CHECK(events.back().name == "end");
  CHECK(json::parse(events.back().data)["build_id"].is_null());
}

TEST_CASE("a build that ends while it is followed") {
  EventStreamFixture f;
  const auto id = f.queue();
  std::thread builder([&] {
    history::History history(f.layout.history());
    CHECK(test::eventually([&] { return f.feed.followers() > 0; }));
    f.write_log(id, "a line\n");
    history.finish(id, "it broke", now());
    f.feed.poke();
  });
  const auto events = f.events(f.request(id));
  builder.join();
  REQUIRE(events.size() >= 3);
  CHECK(events.front().name == "status");
  // The line may have arrived before or after the last status.
  CHECK(std::any_of(events.begin(), events.end(),
                    [](const Event& event) { return event.data == "a line"; }));
  CHECK(events.back().name == "end");
  CHECK(json::parse(events.back().data)["error"] == "it broke");
}

TEST_CASE("an older build than the newest, by its own end") {
  EventStreamFixture f;
  const auto first = f.build_to_the_end("first\n");
  const auto second = f.queue();
  auto events = f.events(f.request(first));
  for (const Event& event : events) {
    if (event.name != "log") CHECK(json::parse(event.data)["build_id"] == first);
  }
  CHECK(events.back().name == "end");
  // The first build's lines in the feed must not reach the second.
  f.history.finish(second, std::nullopt, now());
  f.feed.poke();
  events = f.events(f.request(second));
  CHECK(json::parse(events.back().data)["build_id"] == second);
}

TEST_CASE("followers are let go when the feed is stopped") {
  EventStreamFixture f;
  const auto id = f.queue();
  std::thread stopper([&] {
    CHECK(test::eventually([&] { return f.feed.followers() > 0; }));
    f.feed.stop();
  });
  const auto events = f.events(f.request(id));
  stopper.join();
  CHECK((events.empty() || events.back().name != "end"));
  CHECK(f.feed.followers() == 0);
}
