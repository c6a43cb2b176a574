#include "server/http/conditions.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace nixbuild::http;

namespace {

// The range of a Range header, for a body of `size` bytes: "OFFSET+LENGTH", "416" or "ignored".
std::string asked(std::string_view header, std::uint64_t size, bool empty_at_end = false) {
  const ParsedRange parsed = parse_range(header);
  if (parsed.form == RangeForm::none) return "ignored";
  if (parsed.form == RangeForm::malformed) return "416";
  const auto span = resolve_range(parsed.range, size, empty_at_end);
  if (!span) return "416";
  return std::to_string(span->offset) + "+" + std::to_string(span->length);
}

}  // namespace

TEST_CASE("ranges") {
  CHECK(asked("bytes=0-0", 10) == "0+1");
  CHECK(asked("bytes=2-5", 10) == "2+4");
  CHECK(asked("bytes=2-", 10) == "2+8");
  CHECK(asked("bytes=-3", 10) == "7+3");
  CHECK(asked("bytes=-30", 10) == "0+10");
  CHECK(asked("bytes=0-99", 10) == "0+10");
  CHECK(asked("BYTES = 1-1", 10) == "1+1");
  CHECK(asked("bytes=9-18446744073709551615", 10) == "9+1");
  CHECK(asked("bytes=9-99999999999999999999999", 10) == "9+1");

  CHECK(asked("bytes=10-", 10) == "416");
  CHECK(asked("bytes=11-", 10) == "416");
  CHECK(asked("bytes=99999999999999999999999-", 10) == "416");
  CHECK(asked("bytes=-0", 10) == "416");
  CHECK(asked("bytes=-1", 0) == "416");
  CHECK(asked("bytes=0-", 0) == "416");
  CHECK(asked("bytes=5-2", 10) == "416");
  CHECK(asked("bytes=a-b", 10) == "416");
  CHECK(asked("bytes=-", 10) == "416");
  CHECK(asked("bytes=", 10) == "416");
  CHECK(asked("bytes=1", 10) == "416");
  CHECK(asked("bytes=1-2,4-5", 10) == "416");
  CHECK(asked("bytes=--1", 10) == "416");
  CHECK(asked("bytes=+1-2", 10) == "416");
  CHECK(asked("bytes", 10) == "416");

  CHECK(asked("", 10) == "ignored");
  CHECK(asked("lines=1-2", 10) == "ignored");

  CHECK(asked("bytes=10-", 10, true) == "10+0");
  CHECK(asked("bytes=10-20", 10, true) == "10+0");
  CHECK(asked("bytes=0-", 0, true) == "0+0");
  CHECK(asked("bytes=11-", 10, true) == "416");
  CHECK(asked("bytes=9-", 10, true) == "9+1");
}

TEST_CASE("If-None-Match") {
  CHECK(none_match_hits("\"a\"", "\"a\""));
  CHECK(none_match_hits("W/\"a\"", "\"a\""));
  CHECK(none_match_hits("\"a\"", "W/\"a\""));
  CHECK(none_match_hits("\"x\", W/\"y\" ,\"a\"", "\"a\""));
  CHECK(none_match_hits("\"x\",,\"a\"", "\"a\""));
  CHECK(none_match_hits("*", "\"a\""));
  CHECK(none_match_hits("\"b,\"a\"", "\"b,\""));
  CHECK_FALSE(none_match_hits("\"b\"", "\"a\""));
  CHECK_FALSE(none_match_hits("", "\"a\""));
  CHECK_FALSE(none_match_hits("*", ""));
  CHECK_FALSE(none_match_hits("a", "\"a\""));
  CHECK_FALSE(none_match_hits("\"a", "\"a\""));
}

TEST_CASE("If-Range") {
  CHECK(if_range_holds("", "\"a\""));
  CHECK(if_range_holds("\"a\"", "\"a\""));
  CHECK_FALSE(if_range_holds("W/\"a\"", "W/\"a\""));
  CHECK_FALSE(if_range_holds("\"b\"", "\"a\""));
  CHECK_FALSE(if_range_holds("Sun, 06 Nov 1994 08:49:37 GMT", "\"a\""));
  CHECK_FALSE(if_range_holds("\"a\"", ""));
}
