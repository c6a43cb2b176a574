#include "server/api/local_peers.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <set>

#include "common/base/unique_fd.hpp"

using namespace nixbuild;
using namespace nixbuild::api;

namespace {

// Both ends of a connection over loopback.
struct Ends {
  explicit Ends(int family = AF_INET) {
    const UniqueFd listener(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage address{};
    socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    address.ss_family = static_cast<sa_family_t>(family);
    if (family == AF_INET) {
      reinterpret_cast<sockaddr_in*>(&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
      reinterpret_cast<sockaddr_in6*>(&address)->sin6_addr = in6addr_loopback;
    }
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener.get(), generic, size) != 0 || ::listen(listener.get(), 1) != 0) return;
    ::getsockname(listener.get(), generic, &size);
    client.reset(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(client.get(), generic, size) == 0);
    server.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(server);
  }

  http::Request request(std::uint64_t connection) const {
    http::Request request;
    request.socket = server.get();
    request.connection = connection;
    return request;
  }

  UniqueFd client;
  UniqueFd server;
};

LocalPeers peers_with(std::set<uid_t> uids) {
  return LocalPeers([uids = std::move(uids)] { return BuildUsers(uids); });
}

}  // namespace

TEST_CASE("a connection from this machine is known by its user") {
  for (const int family : {AF_INET, AF_INET6}) {
    const Ends ends(family);
    if (!ends.server) continue;  // no such addresses here
    LocalPeers others = peers_with({::geteuid() + 1});
    CHECK_FALSE(others.is_build(ends.request(1)));
    LocalPeers own = peers_with({::geteuid()});
    CHECK(own.is_build(ends.request(1)));
  }
}

TEST_CASE("who has closed the connection already is nobody to trust") {
  Ends ends;
  REQUIRE(ends.server);
  ends.client.reset();
  LocalPeers peers = peers_with({});
  CHECK(peers.is_build(ends.request(1)));
}

TEST_CASE("nor is who has reset it") {
  Ends ends;
  REQUIRE(ends.server);
  const linger at_once{1, 0};
  ::setsockopt(ends.client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ends.client.reset();
  LocalPeers peers = peers_with({});
  CHECK(peers.is_build(ends.request(1)));
}

TEST_CASE("a connection that is closed for sending has its user") {
  const Ends ends;
  REQUIRE(ends.server);
  ::shutdown(ends.client.get(), SHUT_WR);
  LocalPeers peers = peers_with({});
  CHECK_FALSE(peers.is_build(ends.request(1)));
}

TEST_CASE("the kernel is asked once for each connection") {
  Ends ends;
  REQUIRE(ends.server);
  LocalPeers peers = peers_with({});
  CHECK_FALSE(peers.is_build(ends.request(1)));
  ends.client.reset();
  CHECK_FALSE(peers.is_build(ends.request(1)));
  CHECK(peers.is_build(ends.request(2)));
}

TEST_CASE("a unix socket has its user, too") {
  std::array<int, 2> fds{};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
  const UniqueFd one(fds[0]);
  const UniqueFd other(fds[1]);
  http::Request request;
  request.socket = one.get();
  request.connection = 1;
  LocalPeers others = peers_with({});
  CHECK_FALSE(others.is_build(request));
  LocalPeers own = peers_with({::geteuid()});
  CHECK(own.is_build(request));
}

TEST_CASE("users of builds") {
  CHECK(BuildUsers(std::set<uid_t>{30001}).contains(30001));
  CHECK_FALSE(BuildUsers(std::set<uid_t>{30001}).contains(30002));
  CHECK(BuildUsers(std::set<uid_t>{}).contains(872415232));
  CHECK_FALSE(BuildUsers().contains(0));
  CHECK_FALSE(BuildUsers().contains(65534));
}
