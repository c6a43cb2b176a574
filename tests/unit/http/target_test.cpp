#include "server/http/target.hpp"

#include <doctest/doctest.h>

#include <optional>

#include "server/http/request.hpp"

using namespace nixbuild::http;

namespace {

std::optional<std::string> path_of(std::string_view text) {
  std::string storage;
  Target target;
  if (!parse_target(text, storage, target)) return std::nullopt;
  return std::string(target.path);
}

}  // namespace

TEST_CASE("paths are decoded once") {
  CHECK(path_of("/") == "/");
  CHECK(path_of("/a/b") == "/a/b");
  CHECK(path_of("/a%20b") == "/a b");
  CHECK(path_of("/a%2fb") == "/a/b");
  CHECK(path_of("/a+b") == "/a+b");
  CHECK(path_of("/%25%32%65") == "/%2e");
  CHECK(path_of("/a//b/") == "/a/b/");
  CHECK(path_of("//a///b") == "/a/b");
  CHECK(path_of("/a%2F%2Fb//") == "/a/b/");
  CHECK(path_of("/.a/..b/c./...") == "/.a/..b/c./...");
  CHECK(path_of("/a?b=/../c") == "/a");
  CHECK(path_of("http://host/a") == "/a");
  CHECK(path_of("HTTPS://host") == "/");
  CHECK(path_of("http://host?q") == "/");
}

TEST_CASE("what could lead elsewhere is refused") {
  for (const char* text : {"",
                           "a",
                           "*",
                           "host:80",
                           "http://",
                           "http:///a",
                           "ftp://host/a",
                           "/%",
                           "/%2",
                           "/%zz",
                           "/%2-",
                           "/a%00b",
                           "/.",
                           "/..",
                           "/../etc/passwd",
                           "/a/./b",
                           "/a/..",
                           "/%2e%2e%2fetc",
                           "/%2E%2e/a",
                           "/a%2f..",
                           "/a/%2e",
                           "/.%2e/",
                           "/a#b",
                           "/a?b#c",
                           "http://host/../a",
                           "http://host#a"}) {
    CAPTURE(text);
    CHECK_FALSE(path_of(text).has_value());
  }
}

TEST_CASE("the parts of a target") {
  std::string storage;
  Target target;
  REQUIRE(parse_target("http://build-server:8000/a%41?x=1&y", storage, target));
  CHECK(target.authority == "build-server:8000");
  CHECK(target.path == "/aA");
  CHECK(target.query == "x=1&y");
}

TEST_CASE("query parameters") {
  Request request;
  request.query = "lines=10&name=a%20b+c&flag&empty=&lines=20&bad=%zz&%6eame2=x&&=v";
  CHECK(request.query_parameter("lines") == "10");
  CHECK(request.query_parameter("name") == "a b c");
  CHECK(request.query_parameter("flag") == "");
  CHECK(request.query_parameter("empty") == "");
  CHECK(request.query_parameter("bad") == "%zz");
  CHECK(request.query_parameter("name2") == "x");
  CHECK(request.query_parameter("") == "v");
  CHECK_FALSE(request.query_parameter("line").has_value());
  CHECK_FALSE(request.query_parameter("LINES").has_value());
}
