#include "common/protocol/json.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "common/base/error.hpp"
#include "common/base/time.hpp"
#include "common/protocol/names.hpp"
#include "common/protocol/type_list.hpp"

using namespace nixbuild;
using namespace nixbuild::protocol;

namespace {

Time at(const char* text) {
  return *parse_time(text);
}

std::string failure_of(std::string_view json) {
  try {
    from_json<BuildStatus>(json);
  } catch (const FormatError& error) {
    return error.what();
  }
  return "";
}

BuildStatus running_status() {
  BuildStatus status;
  status.is_running = true;
  status.last_start = at("2025-01-15T14:30:00Z");
  status.repository = "nix-terminal";
  status.build_id = 12;
  status.phase = "build";
  status.progress.to_build = 40;
  status.progress.running.push_back(
      {"/nix/store/x-hello.drv", "hello", "buildPhase", at("2025-01-15T14:31:00Z")});
  return status;
}

// The five fields after writing and reading them.
std::string with(std::string_view field, std::string_view value) {
  std::string json = to_json(running_status());
  const std::size_t begin = json.find("\"" + std::string(field) + "\":") + field.size() + 3;
  const std::size_t end = json.find_first_of(",}", begin);
  return json.replace(begin, end - begin, value);
}

}  // namespace

TEST_CASE("the status begins with its five fields, in their order") {
  CHECK(to_json_brief(running_status()) ==
        "{\n"
        "  \"is_running\": true,\n"
        "  \"last_start\": \"2025-01-15T14:30:00Z\",\n"
        "  \"last_finish\": null,\n"
        "  \"last_status\": null,\n"
        "  \"last_commit\": null\n"
        "}");
  CHECK(to_json(running_status())
            .starts_with("{\"is_running\":true,\"last_start\":\"2025-01-15T14:30:00Z\","
                         "\"last_finish\":null,\"last_status\":null,\"last_commit\":null,"
                         "\"repository\":\"nix-terminal\",\"build_id\":12,\"phase\":\"build\","));
  CHECK(to_json_brief(running_status(), -1).find('\n') == std::string::npos);
}

TEST_CASE("every type reads back as it was written") {
  const auto check = [](const auto& value) {
    using Type = std::remove_cvref_t<decltype(value)>;
    CAPTURE(type_name<Type>());
    const std::string json = to_json(value);
    CHECK(to_json(from_json<Type>(json)) == json);
    CHECK(to_json(from_json<Type>(to_json(value, 2))) == json);
  };
#define CHECK_EMPTY(Type) check(Type{});
  NIXBUILD_PROTOCOL_TYPES(CHECK_EMPTY)
#undef CHECK_EMPTY
  check(running_status());
  Build build;
  build.id = 7;
  build.start = at("2025-01-15T14:30:00Z");
  build.commit = std::string(40, 'a');
  build.commit_subject = "Say \"hällo\"\n\t\x01";
  build.phases = {{"fetch", *build.start, std::nullopt}};
  build.targets = {{"packages.x86_64-linux.hello",
                    TargetResult::success,
                    "/nix/store/x-hello.drv",
                    {{"out", "/nix/store/y-hello", 12345678901}},
                    "",
                    {"one", "two"}}};
  build.derivations = {{"/nix/store/x-hello.drv", "hello", *build.start, 1500, true}};
  check(build);
  check(BuildList{{build, build}, 7});
  check(Info{"host", "1", "x86_64-linux", 65535, "http://h:5000", {"k:AA=="}, {"a", "b"}});
}

TEST_CASE("bytes that are not UTF-8 are replaced, not refused") {
  CHECK(to_json(LogLines{{"a\xff\xc3"}}) == "{\"logs\":[\"a\xef\xbf\xbd\xef\xbf\xbd\"]}");
}

TEST_CASE("fields that are not known are ignored, those that may be null may be missing") {
  CHECK(from_json<ErrorReply>(R"({"new":{"a":[1]},"detail":"d"})").detail == "d");
  const auto reply = from_json<CancelReply>(R"({"status":"s","message":"m","repository":"r"})");
  CHECK_FALSE(reply.build_id);
}

TEST_CASE("names that a newer server sends are read as unknown") {
  std::string json = to_json(Build{});
  json.replace(json.find("\"queued\""), 8, "\"dreaming\"");
  CHECK(from_json<Build>(json).state == BuildState::unknown);
  CHECK(to_json(from_json<Build>(json)).find("\"state\":\"unknown\"") != std::string::npos);
  CHECK(failure_of(with("last_status", "1")) ==
        "BuildStatus: field 'last_status': a string was expected");
  CHECK(from_json<BuildStatus>(with("last_status", "\"failed\"")).last_status ==
        BuildResult::failed);
}

TEST_CASE("an enumerator and its name belong together") {
  CHECK(name_of(BuildState::cancelled) == "cancelled");
  CHECK(name_of(TargetResult::evaluation_failed) == "evaluation failed");
  CHECK(name_of(TargetResult::unknown) == "unknown");
  CHECK(value_of<TargetResult>("skipped") == TargetResult::skipped);
  CHECK(value_of<CancelResult>("not_running") == CancelResult::not_running);
  CHECK(value_of<HealthState>("") == HealthState::unknown);
}

TEST_CASE("a bad field is named") {
  CHECK(failure_of("") == "BuildStatus: this is not JSON, or not all of it");
  CHECK(failure_of("{\"is_running\": tr") == "BuildStatus: this is not JSON, or not all of it");
  CHECK(failure_of("<html>") == "BuildStatus: this is not JSON, or not all of it");
  CHECK(failure_of("[]") == "BuildStatus: an object was expected");
  CHECK(failure_of("{}") == "BuildStatus: field 'is_running': it is missing");
  CHECK(failure_of(with("is_running", "1")) ==
        "BuildStatus: field 'is_running': true or false was expected");
  CHECK(failure_of(with("last_start", "\"yesterday\"")) ==
        "BuildStatus: field 'last_start': a time such as 2025-01-15T14:30:00Z was expected");
  CHECK(failure_of(with("last_start", "5")) ==
        "BuildStatus: field 'last_start': a time such as 2025-01-15T14:30:00Z was expected");
  CHECK(failure_of(with("repository", "null")) ==
        "BuildStatus: field 'repository': a string was expected");
  CHECK(failure_of(with("since", "0")) ==
        "BuildStatus: field 'progress.running[0].since': a time such as 2025-01-15T14:30:00Z was "
        "expected");
  CHECK(failure_of(with("outputs", "{}")) == "BuildStatus: field 'outputs': a list was expected");
  CHECK(failure_of(with("progress", "[1")).starts_with("BuildStatus: this is not JSON"));
}

TEST_CASE("whole numbers are held to their range") {
  CHECK(failure_of(with("built", "-1")) ==
        "BuildStatus: field 'progress.built': a whole number from 0 to 18446744073709551615 was "
        "expected");
  CHECK(failure_of(with("built", "1.5")).starts_with("BuildStatus: field 'progress.built'"));
  CHECK(failure_of(with("built", "18446744073709551616")).starts_with("BuildStatus: field"));
  CHECK(from_json<BuildStatus>(with("built", "18446744073709551615")).progress.built ==
        18446744073709551615ULL);
  CHECK(from_json<BuildStatus>(with("build_id", "-9223372036854775808")).build_id.value() < 0);
  CHECK(failure_of(with("build_id", "9223372036854775808")).starts_with("BuildStatus: field"));
  std::string info = to_json(Info{});
  info.replace(info.find("\"api_port\":0"), 12, "\"api_port\":65536");
  CHECK_THROWS_WITH_AS(from_json<Info>(info),
                       "Info: field 'api_port': a whole number from 0 to 65535 was expected",
                       FormatError);
}

TEST_CASE("nesting without end is refused") {
  CHECK(failure_of(std::string(1'000'000, '[')) != "");
  CHECK(failure_of(std::string(1'000'000, '[') + std::string(1'000'000, ']')) ==
        "BuildStatus: an object was expected");
}
