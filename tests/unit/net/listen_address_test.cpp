#include "common/net/listen_address.hpp"

#include <doctest/doctest.h>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::net;

TEST_CASE("the forms of a listen address are read and written back") {
  for (const char* text : {"127.0.0.1:5000", "0.0.0.0:0", "[::1]:5000", "[fe80::1%eth0]:65535",
                           "unix:/run/nixbuild/control.sock"}) {
    CAPTURE(text);
    CHECK(to_string(parse_listen_address(text, "tailscale0")) == text);
  }
  const auto tcp = std::get<TcpAddress>(parse_listen_address("[::1]:5000", "tailscale0"));
  CHECK(tcp.host == "::1");
  CHECK(tcp.port == 5000);
}

TEST_CASE("tailscale stands for Tailscale's addresses on its interface") {
  const auto address = std::get<InterfaceAddress>(parse_listen_address("tailscale:8000", "ts1"));
  CHECK(address.interface == "ts1");
  CHECK(address.ranges == std::vector<std::string>{"100.64.0.0/10", "fd7a:115c:a1e0::/48"});
  CHECK(address.port == 8000);
  CHECK(to_string(address) == "ts1:8000");
}

TEST_CASE("what is no listen address is refused") {
  const std::string long_path = "unix:/" + std::string(200, 'x');
  for (const char* text : {"",
                           ":",
                           "5000",
                           "127.0.0.1",
                           "127.0.0.1:",
                           "127.0.0.1:x",
                           "127.0.0.1:65536",
                           "127.0.0.1:-1",
                           "127.0.0.1:+1",
                           "127.0.0.1: 1",
                           "localhost:5000",
                           "*:5000",
                           ":5000",
                           "::1:5000",
                           "[::1]",
                           "[127.0.0.1]:5000",
                           "[]:5000",
                           "[::1:5000",
                           "300.0.0.1:5000",
                           "127.0.0.1%lo:5000",
                           "unix:",
                           "unix:relative.sock",
                           "tailscale",
                           "tailscale:http",
                           long_path.c_str()}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_listen_address(text, "tailscale0"), UsageError);
  }
}

TEST_CASE("an address lies in a range or not") {
  CHECK(address_in_range("100.64.0.0", "100.64.0.0/10"));
  CHECK(address_in_range("100.127.255.255", "100.64.0.0/10"));
  CHECK_FALSE(address_in_range("100.128.0.0", "100.64.0.0/10"));
  CHECK_FALSE(address_in_range("100.63.255.255", "100.64.0.0/10"));
  CHECK(address_in_range("fd7a:115c:a1e0::53", "fd7a:115c:a1e0::/48"));
  CHECK_FALSE(address_in_range("fd7a:115c:a1e1::53", "fd7a:115c:a1e0::/48"));
  CHECK_FALSE(address_in_range("100.64.0.1", "fd7a:115c:a1e0::/48"));
  CHECK(address_in_range("10.1.2.3", "0.0.0.0/0"));
  CHECK(address_in_range("fe80::1%eth0", "fe80::/10"));
  CHECK(address_in_range("10.0.0.1", "10.0.0.1"));
  CHECK_FALSE(address_in_range("10.0.0.1", "10.0.0.2/32"));
  CHECK_FALSE(address_in_range("no address", "10.0.0.2/32"));
  for (const char* range : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "x/8", "fd00::/129"}) {
    CAPTURE(range);
    CHECK_THROWS_AS(address_in_range("10.0.0.1", range), UsageError);
  }
}
