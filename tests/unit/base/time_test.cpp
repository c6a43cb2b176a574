#include "common/base/time.hpp"

#include <doctest/doctest.h>

using namespace nixbuild;

TEST_CASE("a time reads back as it was written") {
  for (const char* text : {"1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z", "2025-01-15T14:30:00Z",
                           "9999-12-31T00:00:00Z"}) {
    const auto time = parse_time(text);
    REQUIRE(time);
    CHECK(format_time(*time) == text);
  }
  CHECK(parse_time("1970-01-02T00:00:01Z")->time_since_epoch().count() == 86401);
}

TEST_CASE("what is no time is none") {
  for (const char* text :
       {"", "2025-01-15", "2025-01-15T14:30:00", "2025-01-15 14:30:00Z", "2025-02-29T00:00:00Z",
        "2025-13-01T00:00:00Z", "2025-01-15T24:00:00Z", "2025-01-15T14:60:00Z",
        "2025-01-15T14:30:60Z", "20x5-01-15T14:30:00Z", "2025-01-15T14:30:00+"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_time(text));
  }
}
