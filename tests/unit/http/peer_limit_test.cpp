// How many connections and how much memory one client may use.
#include "server/http/peer_limit.hpp"

#include <doctest/doctest.h>

#include <list>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "server/http/socket_address.hpp"
#include "support.hpp"

using namespace nixbuild;
using namespace nixbuild::http;
using namespace nixbuild::http::test;

namespace {

sockaddr_storage address(const std::string& host) {
  return to_socket_address({host, 1}).storage;
}

// How many connections `host` gets while `open` others are open.
std::size_t granted(PeerLimit& limit, const std::string& host, std::size_t open,
                    std::list<PeerLimit::Place>& places, std::size_t most = 1000) {
  std::size_t count = 0;
  while (count < most) {
    auto place = limit.enter(address(host), open + count);
    if (!place) break;
    places.push_back(std::move(*place));
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("one peer gets half of the connections, and has them back when it closes them") {
  PeerLimit limit(100, {});
  std::list<PeerLimit::Place> places;
  CHECK(granted(limit, "192.0.2.1", 0, places) == 50);
  // However its address is written.
  CHECK(granted(limit, "::ffff:192.0.2.1", 50, places) == 0);
  CHECK(granted(limit, "192.0.2.2", 50, places, 20) == 20);
  places.pop_front();
  CHECK(granted(limit, "192.0.2.1", 69, places) == 1);
  places.clear();
  CHECK(granted(limit, "192.0.2.1", 0, places) == 50);
}

TEST_CASE("an IPv6 network of 64 bits is one peer") {
  PeerLimit limit(100, {});
  std::list<PeerLimit::Place> places;
  CHECK(granted(limit, "2001:db8::1", 0, places) == 50);
  CHECK(granted(limit, "2001:db8::2:3:4:5", 50, places) == 0);
  CHECK(granted(limit, "2001:db8:0:1::1", 50, places, 10) == 10);
}

TEST_CASE("the last tenth is for peers with few connections") {
  PeerLimit limit(1000, {});
  std::list<PeerLimit::Place> places;
  CHECK(granted(limit, "192.0.2.1", 0, places) == 500);
  CHECK(granted(limit, "192.0.2.2", 500, places) == 400);
  CHECK(granted(limit, "192.0.2.1", 900, places) == 0);
  CHECK(granted(limit, "192.0.2.2", 900, places) == 0);
  CHECK(granted(limit, "192.0.2.3", 900, places) == 20);
  CHECK(granted(limit, "192.0.2.4", 920, places) == 20);
}

TEST_CASE("loopback and trusted proxies have no limit") {
  PeerLimit limit(10, {"192.0.2.0/24", "2001:db8::1"});
  std::list<PeerLimit::Place> places;
  for (const char* host : {"127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "192.0.2.77",
                           "::ffff:192.0.2.77", "2001:db8::1"}) {
    CAPTURE(host);
    CHECK(granted(limit, host, 0, places) == 1000);
  }
  CHECK(granted(limit, "198.51.100.1", 0, places) == 5);
  CHECK(granted(limit, "2001:db8::2", 0, places) == 5);
  CHECK_THROWS_AS(PeerLimit(10, {"proxy"}), UsageError);
}

TEST_CASE("what waits for slow clients has one budget, and who has waited longest is cut") {
  ServerOptions options = TestServer::two_threads();
  options.threads = 1;
  options.limits.queued_bytes = 1;  // rounded up to the minimum, 16 MiB
  TestServer server(
      [](Router& router) {
        router.get("/large", [](const Request&, PathParameters) {
          return text_response(200, std::string(6'000'000, 'x'));
        });
        router.get("/huge", [](const Request&, PathParameters) {
          return text_response(200, std::string(30'000'000, 'x'));
        });
        router.get("/stream", [](const Request&, PathParameters) {
          return stream_response(
              std::nullopt,
              [](BodyWriter& out, std::uint64_t, std::uint64_t) -> asio::awaitable<void> {
                const std::string piece(8'000'000, 'x');
                asio::awaitable<void> writing = out.write(piece);
                co_await std::move(writing);
              });
        });
      },
      options);
  const auto cut = [&] { return server.server().statistics().timeouts; };
  const auto in_flight = [&] { return server.server().statistics().requests_in_flight; };
  std::list<Client> stalled;
  const auto stall = [&](const std::string& path) {
    stalled.emplace_back(server.port(), 4096).send("GET " + path + " HTTP/1.1\r\nHost: t\r\n\r\n");
  };
  for (std::uint64_t i = 0; i < 2; ++i) {
    stall("/large");
    REQUIRE(eventually([&] { return in_flight() == i + 1; }));
  }
  CHECK(cut() == 0);
  stall("/stream");
  REQUIRE(eventually([&] { return cut() == 1; }));
  CHECK(stalled.front().receive_all().size() < 6'000'000);
  CHECK(stalled.front().was_reset());
  // A response that is larger than the budget is sent nevertheless, and all others are cut for it.
  Client reader(server.port());
  reader.send("GET /huge HTTP/1.1\r\nHost: t\r\n\r\n");
  CHECK(reader.receive().body.size() == 30'000'000);
  for (int i = 0; i < 20; ++i)
    stall("/large");
  REQUIRE(eventually([&] { return cut() >= 18; }));
  CHECK(eventually([&] { return in_flight() <= 2; }));
  CHECK(Client(server.port()).get("/large").body.size() == 6'000'000);
}
