#include "server/proxy/upstream.hpp"

#include <doctest/doctest.h>

#include "common/net/server_address.hpp"

using namespace nixbuild;
using namespace nixbuild::proxy;

TEST_CASE("how long answers usually take") {
  LatencyWindow window;
  CHECK(window.usual(milliseconds(100)) == milliseconds(100));
  for (int i = 0; i < 7; ++i)
    window.add(milliseconds(3));
  CHECK(window.usual(milliseconds(100)) == milliseconds(100));  // too few are known
  window.add(milliseconds(3));
  CHECK(window.usual(milliseconds(100)) == milliseconds(3));
  // One in a hundred does not count, one in ten does.
  for (int i = 0; i < 100; ++i)
    window.add(milliseconds(i == 99 ? 1000 : 3));
  CHECK(window.usual(milliseconds(100)) == milliseconds(3));
  for (int i = 0; i < 64; ++i)
    window.add(milliseconds(i % 10 == 0 ? 50 : 3));
  CHECK(window.usual(milliseconds(100)) == milliseconds(50));
}

TEST_CASE("an upstream is unknown until it was probed") {
  const Upstream upstream(net::parse_server_address("build-server", net::cache_port),
                          nix::StoreDir());
  CHECK(upstream.url() == "http://build-server:5000");
  CHECK(upstream.state() == UpstreamState::unknown);
  CHECK(upstream.request("a.narinfo").url == "http://build-server:5000/a.narinfo");
  const Upstream below(net::parse_server_address("https://host/prefix"), nix::StoreDir());
  CHECK(below.request("nar/x").url == "https://host:443/prefix/nar/x");
  CHECK(below.id() != upstream.id());
}
