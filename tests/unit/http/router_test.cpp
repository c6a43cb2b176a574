#include "server/http/router.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

using namespace nixbuild::http;

namespace {

Reply answer_x(const Request&, PathParameters) {
  return text_response(200, "x");
}

// The parameters of a path according to a pattern, joined by '|'; "-" if it does not match.
std::string taken(const char* pattern, std::string_view path) {
  Router router;
  router.get(pattern, answer_x);
  const Router::Match match = router.match(Method::get, path);
  if (match.handler == nullptr) return "-";
  std::string joined;
  for (const std::string_view parameter : match.parameters()) {
    if (!joined.empty()) joined += '|';
    joined += parameter;
  }
  return joined;
}

}  // namespace

TEST_CASE("patterns") {
  CHECK(taken("/", "/") == "");
  CHECK(taken("/", "/a") == "-");
  CHECK(taken("/health", "/health") == "");
  CHECK(taken("/health", "/healthy") == "-");
  CHECK(taken("/health", "/heal") == "-");
  CHECK(taken("/{hash}.narinfo", "/abc.narinfo") == "abc");
  CHECK(taken("/{hash}.narinfo", "/.narinfo") == "-");
  CHECK(taken("/{hash}.narinfo", "/a/b.narinfo") == "-");
  CHECK(taken("/{hash}.narinfo", "/abc.narinfo/") == "-");
  CHECK(taken("/{hash}.narinfo", "/a.narinfo.narinfo") == "a.narinfo");
  CHECK(taken("/builds/{id}/log", "/builds/12/log") == "12");
  CHECK(taken("/builds/{id}/log", "/builds/12/13/log") == "-");
  CHECK(taken("/builds/{id}/log", "/builds//log") == "-");
  CHECK(taken("/nar/{hash}-{nar}.nar", "/nar/a-b-c.nar") == "a|b-c");
  CHECK(taken("/nar/{hash}-{nar}.nar", "/nar/a-.nar") == "-");
  CHECK(taken("/nar/{hash}-{nar}.nar", "/nar/-a.nar") == "-");
  CHECK(taken("/nar/{hash}-{nar}.nar", "/nar/-a-b.nar") == "-a|b");
  CHECK(taken("/{a}/{b}/{c}", "/1/2/3") == "1|2|3");
  CHECK(taken("/{a}/{b}/{c}", "/1/2") == "-");
  CHECK(taken("/log/{rest...}", "/log/a/b/c") == "a/b/c");
  CHECK(taken("/log/{rest...}", "/log/") == "-");
  CHECK(taken("/{x}aa", "/aaa") == "a");
  CHECK(taken("/{x}aa", "/aa") == "-");
  CHECK(taken("/{x}a{y}", "/aab") == "a|b");
}

TEST_CASE("matching a long path takes linear time") {
  // With backtracking this would take forever.
  const std::string path = "/" + std::string(8000, '-');
  CHECK(taken("/{a}-{b}-{c}-{d}x", path) == "-");
}

TEST_CASE("malformed patterns are refused") {
  Router router;
  for (const char* pattern : {"", "a", "/{", "/}", "/{}", "/{...}", "/{a}{b}", "/{a...}x",
                              "/{a...}/{b}", "/{a{b}}", "/{a/b}", "/{a}-{b}-{c}-{d}-{e}"}) {
    CAPTURE(pattern);
    CHECK_THROWS_AS(router.get(pattern, answer_x), std::logic_error);
  }
  CHECK_THROWS_AS(router.add(Method::other, "/", answer_x), std::logic_error);
  CHECK(router.route_count() == 0);
}

TEST_CASE("the first route that was added wins, and 405 names all methods of a path") {
  Router router;
  router.get("/a", answer_x);
  router.get("/{any}", answer_x);
  router.add(Method::post, "/{any}", answer_x, {.body_limit = 10});
  router.add(Method::del, "/a", answer_x);
  CHECK(router.match(Method::get, "/a").route == 0);
  CHECK(router.match(Method::get, "/b").route == 1);
  const Router::Match post = router.match(Method::post, "/a");
  CHECK(post.route == 2);
  CHECK(post.body_limit == 10);
  CHECK(router.pattern(2) == "/{any}");
  const Router::Match put = router.match(Method::put, "/a");
  CHECK(put.handler == nullptr);
  CHECK(put.allow == "GET, HEAD, POST, DELETE");
  CHECK(router.match(Method::put, "/b").allow == "GET, HEAD, POST");
  const Router::Match none = router.match(Method::get, "/a/b");
  CHECK(none.handler == nullptr);
  CHECK(none.allow.empty());
  CHECK(none.route == router.route_count());
}
