// Which Host headers are names of this server.
#include "server/http/host_rule.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "common/base/error.hpp"
#include "support.hpp"

using namespace nixbuild;
using namespace nixbuild::http;
using namespace nixbuild::http::test;

TEST_CASE("names that no stranger can own are allowed, and no others") {
  HostRule rule("[x] allowed_host", {"cache.example.com", "192.0.2.7", "2001:db8::7", "other"},
                {"server.example.org", "server"});
  for (const char* good : {"localhost",
                           "localhost:8000",
                           "LOCALHOST.",
                           "a.localhost",
                           "127.0.0.1:8000",
                           "127.0.0.2",
                           "[::1]:8000",
                           "[::1]",
                           "[0:0::1]",
                           "[::ffff:127.0.0.1]",
                           "build-server",
                           "build-server:8000",
                           "server",
                           "server.example.org",
                           "SERVER.example.org.:80",
                           "cache.example.com:80",
                           "192.0.2.7:5000",
                           "[2001:db8::7]:5000",
                           "[2001:db8::7%25eth0]:1",
                           "server.tail1234.ts.net:8000",
                           "build-server.tail1234.ts.net",
                           "other.tail1234.ts.net",
                           ""}) {
    CAPTURE(good);
    CHECK(rule.allows(good));
  }
  for (const char* bad : {"evil.example.com",
                          "evil.example.com:8000",
                          "localhost.evil.com",
                          "127.0.0.1.evil.com",
                          "anything",
                          "printer.local",
                          "server.local",
                          "server.evil.com",
                          "other2.tail1234.ts.net",
                          "server.a.b.ts.net",
                          "server.ts.net",
                          "x.server.tail1234.ts.net",
                          "ts.net",
                          ".ts.net",
                          "[::1].evil.com",
                          "[::1]evil.com",
                          "[::1]:8000.evil.com",
                          "[::1",
                          "::1",
                          "[]",
                          "[]:80",
                          "[localhost]",
                          "localhost:8000.evil.com",
                          "localhost:evil",
                          "localhost:800000",
                          "localhost:80:80",
                          "localhost..",
                          ".localhost",
                          ".",
                          ":80",
                          "local host",
                          "localhost%00",
                          "0.0.0.0:8000",
                          "[::]:8000",
                          "192.0.2.8",
                          "[2001:db8::8]",
                          "127.1",
                          "2130706433",
                          "0x7f.0.0.1",
                          "cache.example.com.evil.net",
                          "evil-cache.example.com"}) {
    CAPTURE(bad);
    CHECK_FALSE(rule.allows(bad));
  }
}

TEST_CASE("what is neither a name nor an address cannot be allowed") {
  for (const char* bad :
       {"", "a b", "http://cache.example.com", "cache.example.com/", "*", "[::1"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(HostRule("[x] allowed_host", {bad}), UsageError);
  }
}

TEST_CASE("the server refuses other hosts, on connections that were allowed before, too") {
  const auto rule = std::make_shared<HostRule>(
      "[x] allowed_host", std::vector<std::string>{"a.org"}, std::vector<std::string>{"server"});
  TestServer server([&](Router& router) {
    router.set_host_rule(rule);
    router.get("/hello", [](const Request&, PathParameters) { return text_response(200, "hi"); });
    router.add(Method::post, "/hello",
               [](const Request&, PathParameters) { return text_response(200, "hi"); },
               {.body_limit = 10});
  });
  Client client(server.port());
  const auto ask = [&](const std::string& host) {
    client.send("GET /hello HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    return client.receive();
  };
  CHECK(ask("a.org").status == 200);
  CHECK(ask("a.org").status == 200);
  const Received refused = ask("b.org");
  CHECK(refused.status == 403);
  CHECK(refused.body.find("[x] allowed_host") != std::string::npos);
  CHECK(ask("a.org").status == 200);
  rule->set_allowed({"b.org"});
  CHECK(ask("a.org").status == 403);
  CHECK(ask("b.org").status == 200);
  client.send("GET /hello HTTP/1.0\r\n\r\n");
  CHECK(client.receive().status == 200);
  // An unread body ends the connection.
  Client poster(server.port());
  poster.send("POST /hello HTTP/1.1\r\nHost: b.org\r\nContent-Length: 2\r\n\r\nhi");
  CHECK(poster.receive().status == 200);
  poster.send("POST /hello HTTP/1.1\r\nHost: evil.org\r\nContent-Length: 2\r\n\r\nhi");
  const Received answer = poster.receive();
  CHECK(answer.status == 403);
  CHECK(answer.header("connection") == "close");
}

TEST_CASE("headers that tell whether a page may ask are there once at most") {
  TestServer server([&](Router& router) {
    router.get("/hello", [](const Request&, PathParameters) { return text_response(200, "hi"); });
  });
  const auto status = [&](const std::string& headers) {
    return Client(server.port()).get("/hello", headers).status;
  };
  CHECK(status("Origin: http://t\r\nSec-Fetch-Site: none\r\n") == 200);
  CHECK(status("Origin: http://t\r\nORIGIN: http://t\r\n") == 400);
  CHECK(status("Origin: http://t\r\nOrigin:\r\n") == 400);
  CHECK(status("Sec-Fetch-Site: none\r\nsec-fetch-site: cross-site\r\n") == 400);
  CHECK(status("Host: t\r\n") == 400);
}

TEST_CASE("every answer forbids browsers to guess its type") {
  TestServer server([&](Router& router) {
    router.get("/hello", [](const Request&, PathParameters) { return text_response(200, "hi"); });
  });
  for (const char* path : {"/hello", "/absent", "/../x"}) {
    CAPTURE(path);
    CHECK(Client(server.port()).get(path).header("x-content-type-options") == "nosniff");
  }
}
