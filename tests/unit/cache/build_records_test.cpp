#include "server/cache/build_records.hpp"

#include <doctest/doctest.h>

using nixbuild::cache::may_ask_for_records;

TEST_CASE("records are signed for serve-api's user") {
  constexpr uid_t own = 201;
  constexpr uid_t api = 202;
  constexpr uid_t builds = 203;
  CHECK(may_ask_for_records(api, own, api));
  CHECK(may_ask_for_records(own, own, std::nullopt));  // one user runs both
  CHECK_FALSE(may_ask_for_records(builds, own, api));
  CHECK_FALSE(may_ask_for_records(builds, own, std::nullopt));
  CHECK_FALSE(may_ask_for_records(65534, own, api));
  // Without a known user nobody is allowed, not even on a machine without serve-api.
  CHECK_FALSE(may_ask_for_records(std::nullopt, own, api));
  CHECK_FALSE(may_ask_for_records(std::nullopt, own, std::nullopt));
}
