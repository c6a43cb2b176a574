#include "server/api/rate_limit.hpp"

#include <doctest/doctest.h>

using namespace nixbuild::api;
using namespace std::chrono_literals;

TEST_CASE("some at once, then one an interval") {
  RateLimit limit(3, 2s);
  const auto start = RateLimit::Clock::now();
  for (int i = 0; i < 3; ++i)
    CHECK_FALSE(limit.refuse("a", start));
  CHECK(limit.refuse("a", start) == 2s);
  CHECK(limit.refuse("a", start + 1500ms) == 1s);
  CHECK_FALSE(limit.refuse("b", start));
  CHECK_FALSE(limit.refuse("a", start + 2s));
  CHECK(limit.refuse("a", start + 2s) == 2s);
  // After a pause, the whole limit is available again, but no more.
  for (int i = 0; i < 3; ++i)
    CHECK_FALSE(limit.refuse("a", start + 1h));
  CHECK(limit.refuse("a", start + 1h));
}

TEST_CASE("any number of keys costs a bounded amount of memory") {
  RateLimit limit(1, 1h);
  for (int i = 0; i < 30'000; ++i)
    CHECK_FALSE(limit.refuse(std::to_string(i)));
}

TEST_CASE("a peer is an IPv4 address or an IPv6 network") {
  CHECK(peer_key("100.64.0.1") == "100.64.0.1");
  CHECK(peer_key("100.64.0.1") != peer_key("100.64.0.2"));
  CHECK(peer_key("fd7a:115c:a1e0::1") == peer_key("fd7a:115c:a1e0::2:3"));
  CHECK(peer_key("fd7a:115c:a1e0::1") != peer_key("fd7a:115c:a1e0:1::1"));
  CHECK(peer_key("::ffff:100.64.0.1") == peer_key("100.64.0.1"));
  CHECK(peer_key("fe80::1%eth0") == peer_key("fe80::2%eth1"));
  CHECK(peer_key("unix") == "unix");
}
