#include "common/nix/log.hpp"

#include <doctest/doctest.h>

using namespace nixbuild::nix;

// Real lines from Nix 2.8.0 and 2.26.3.

TEST_CASE("the start of an activity") {
  const auto event = log::parse_line(
      R"(@nix {"action":"start","fields":["/nix/store/kj2070yqbzyb9q537h0hfjv9ghfl8d36-bad.drv","",1,1],"id":59794534694917,"level":3,"text":"building '/nix/store/kj2070yqbzyb9q537h0hfjv9ghfl8d36-bad.drv'","type":105})");
  REQUIRE(event);
  const auto& start = std::get<log::Start>(*event);
  CHECK(start.id == 59794534694917);
  CHECK(start.type == log::ActivityType::build);
  CHECK(start.level == 3);
  CHECK(start.text == "building '/nix/store/kj2070yqbzyb9q537h0hfjv9ghfl8d36-bad.drv'");
  CHECK(start.text_field(0) == "/nix/store/kj2070yqbzyb9q537h0hfjv9ghfl8d36-bad.drv");
  CHECK(start.text_field(1).empty());
  CHECK(start.text_field(2).empty());
  CHECK(start.text_field(9).empty());
  CHECK(start.parent == 0);

  const auto copy = log::parse_line(
      R"(@nix {"action":"start","fields":["/nix/store/in7ml8ccyva3cy1ad37cg7pdicg89isl-payload","file:///cache1","local"],"id":103779294773255,"level":3,"parent":103779294773254,"text":"copying path '/nix/store/in7ml8ccyva3cy1ad37cg7pdicg89isl-payload' from 'file:///cache1'","type":100})");
  REQUIRE(copy);
  CHECK(std::get<log::Start>(*copy).type == log::ActivityType::copy_path);
  CHECK(std::get<log::Start>(*copy).parent == 103779294773254);
}

TEST_CASE("the end of an activity") {
  const auto event = log::parse_line(R"(@nix {"action":"stop","id":59794534694918})");
  REQUIRE(event);
  CHECK(std::get<log::Stop>(*event).id == 59794534694918);
}

TEST_CASE("results") {
  auto event = log::parse_line(
      R"(@nix {"action":"result","fields":["about to fail"],"id":59794534694917,"type":101})");
  REQUIRE(event);
  CHECK(std::get<log::BuildLogLine>(*event).line == "about to fail");

  event = log::parse_line(R"(@nix {"action":"result","fields":["buildPhase"],"id":9,"type":104})");
  REQUIRE(event);
  CHECK(std::get<log::SetPhase>(*event).phase == "buildPhase");

  event = log::parse_line(
      R"(@nix {"action":"result","fields":[1,3,2,1],"id":59794534694914,"type":105})");
  REQUIRE(event);
  const auto& progress = std::get<log::Progress>(*event);
  CHECK(progress.done == 1);
  CHECK(progress.expected == 3);
  CHECK(progress.running == 2);
  CHECK(progress.failed == 1);

  event = log::parse_line(
      R"(@nix {"action":"result","fields":[100,232],"id":103611791048706,"type":106})");
  REQUIRE(event);
  CHECK(std::get<log::SetExpected>(*event).type == log::ActivityType::copy_path);
  CHECK(std::get<log::SetExpected>(*event).expected == 232);

  event = log::parse_line(R"(@nix {"action":"result","fields":[1],"id":1,"type":100})");
  REQUIRE(event);
  CHECK(std::get<log::OtherResult>(*event).type == 100);
}

TEST_CASE("messages") {
  const auto event = log::parse_line(
      R"(@nix {"action":"msg","column":null,"file":null,"level":0,"line":null,"msg":"\u001b[31;1merror:\u001b[0m it failed","raw_msg":"it failed"})");
  REQUIRE(event);
  CHECK(std::get<log::Message>(*event).level == 0);
  CHECK(std::get<log::Message>(*event).text == "\x1b[31;1merror:\x1b[0m it failed");
}

TEST_CASE("what is no event is left to be shown") {
  for (const char* line :
       {"", "plain", "@nix", "@nix ", "@nix {", "@nix []", "@nix 5", "@nix {}",
        R"(@nix {"action":"fly"})", R"(@nix {"action":5})", " @nix {\"action\":\"stop\"}",
        "@nix {\"action\":\"msg\",\"msg\":\"\xff\"}"}) {
    CAPTURE(line);
    CHECK_FALSE(log::parse_line(line));
  }
}

TEST_CASE("fields of the wrong type or missing are taken for empty") {
  auto event = log::parse_line(R"(@nix {"action":"start","id":"x","level":-3,"fields":{"a":1}})");
  REQUIRE(event);
  CHECK(std::get<log::Start>(*event).id == 0);
  CHECK(std::get<log::Start>(*event).level == 0);
  CHECK(std::get<log::Start>(*event).fields.empty());
  event = log::parse_line(R"(@nix {"action":"result","type":101,"fields":[7]})");
  REQUIRE(event);
  CHECK(std::get<log::BuildLogLine>(*event).line.empty());
  event = log::parse_line(R"(@nix {"action":"result","type":105,"fields":["a",-1,1e30,null]})");
  REQUIRE(event);
  CHECK(std::get<log::Progress>(*event).done == 0);
  event = log::parse_line(R"(@nix {"action":"msg","level":99999999999999999999,"msg":null})");
  REQUIRE(event);
  CHECK(std::get<log::Message>(*event).text.empty());
}

TEST_CASE("a log line of a builder whose middle is missing") {
  const std::string text = std::string(2'000'000, 'x');
  const std::string whole = R"(@nix {"action":"result","fields":["say \"id\":5 \u001bÃ©)" + text +
                            R"("],"id":123,"type":101})";
  for (const std::size_t length : {std::size_t{1} << 20, std::size_t{70'000}}) {
    const auto event = log::parse_line(whole.substr(0, length) + whole.substr(whole.size() - 256));
    REQUIRE(event);
    REQUIRE(std::holds_alternative<log::BuildLogLine>(*event));
    const auto& line = std::get<log::BuildLogLine>(*event);
    CHECK(line.id == 123);
    CHECK(line.line.starts_with("say \"id\":5 \x1bÃ©xxx"));
  }
  // However it is cut, the result is valid text.
  const std::string start = R"(@nix {"action":"result","fields":["a\u001b\\\"ðz)";
  for (std::size_t length = 35; length <= start.size(); ++length) {
    CAPTURE(length);
    const auto event = log::parse_line(start.substr(0, length) + "\x01\"],\"id\":7,\"type\":101}");
    CHECK((!event || std::holds_alternative<log::BuildLogLine>(*event)));
  }
  CHECK_FALSE(log::parse_line(R"(@nix {"action":"result","fields":["a)"));
  CHECK_FALSE(
      log::parse_line("@nix {\"action\":\"result\",\"fields\":[\"\x01\"],\"id\":7,\"type\":104}"));
}
