#include "common/net/server_address.hpp"

#include <doctest/doctest.h>

#include <string>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::net;

TEST_CASE("the forms of a server's address") {
  const auto url = [](std::string_view text) { return parse_server_address(text).base_url(); };
  CHECK(url("build-server") == "http://build-server:8000");
  CHECK(url("build-server:9000") == "http://build-server:9000");
  CHECK(url("build_server.tail1234.ts.net") == "http://build_server.tail1234.ts.net:8000");
  CHECK(url("100.64.0.1") == "http://100.64.0.1:8000");
  CHECK(url("100.64.0.1:80") == "http://100.64.0.1:80");
  CHECK(url("::1") == "http://[::1]:8000");
  CHECK(url("fd7a:115c:a1e0::1") == "http://[fd7a:115c:a1e0::1]:8000");
  CHECK(url("[fd7a::1]") == "http://[fd7a::1]:8000");
  CHECK(url("[fd7a::1]:65535") == "http://[fd7a::1]:65535");
  CHECK(url("[fe80::1%eth0]:8000") == "http://[fe80::1%25eth0]:8000");
  CHECK(url("http://build-server") == "http://build-server:80");
  CHECK(url("HTTPS://build-server/") == "https://build-server:443");
  CHECK(url("https://example.org:8443/nix/build//") == "https://example.org:8443/nix/build");
  CHECK(url("http://[::1]:8000") == "http://[::1]:8000");
  CHECK(parse_server_address("h", 5000).base_url() == "http://h:5000");

  const ServerAddress socket = parse_server_address("unix:/run/nixbuild/api.sock");
  CHECK(socket.unix_socket == "/run/nixbuild/api.sock");
  CHECK(socket.base_url() == "http://localhost:8000");
  CHECK(socket.host_port() == "/run/nixbuild/api.sock");
  CHECK(parse_server_address("[::1]:8000").host_port() == "[::1]:8000");
}

TEST_CASE("what is no address is refused") {
  for (const char* text : {"",
                           " ",
                           "build server",
                           "build-server:",
                           "build-server:0",
                           "build-server:65536",
                           "build-server:80x",
                           "build-server:-1",
                           "build-server: 80",
                           ":8000",
                           "[::1",
                           "[::1]8000",
                           "[::1]:",
                           "[build-server]:8000",
                           "[]",
                           "ftp://host",
                           "http://",
                           "http:///path",
                           "http://user:secret@host",
                           "http://host?x=1",
                           "http://host#x",
                           "http://host/a b",
                           "http://::1",
                           "http://host:8000:9000",
                           "1:2:3",
                           "host/path",
                           "-oProxyCommand=x",
                           "a\nb",
                           "unix:",
                           "unix:relative",
                           "http://a%20b",
                           "host:8000\n"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(parse_server_address(text), UsageError);
  }
}

TEST_CASE("which servers are this machine") {
  CHECK(parse_server_address("localhost").is_local());
  CHECK(parse_server_address("127.0.0.2:1").is_local());
  CHECK(parse_server_address("::1").is_local());
  CHECK(parse_server_address("unix:/x").is_local());
  CHECK_FALSE(parse_server_address("127.0.0.1.example.org").is_local());
  CHECK_FALSE(parse_server_address("build-server").is_local());
}

TEST_CASE("the cache is at the same host") {
  CHECK(default_cache_url(parse_server_address("build-server:9000")) == "http://build-server:5000");
  CHECK(default_cache_url(parse_server_address("https://h/prefix")) == "http://h:5000");
  CHECK(default_cache_url(parse_server_address("[fd7a::1]:8000")) == "http://[fd7a::1]:5000");
}
