#include "server/api/access.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>

using namespace nixbuild;
using api::Access;

namespace {

struct Headers : http::RequestHeaders {
  std::map<std::string, std::string, std::less<>> values;
  std::string_view get(std::string_view name) const override {
    const auto found = values.find(name);
    return found == values.end() ? std::string_view{} : found->second;
  }
};

// The status with which a request is refused; 0 if it is allowed.
unsigned refused(const Access& access, http::Method method,
                 std::map<std::string, std::string, std::less<>> values, bool needs_token = true) {
  Headers headers;
  headers.values = std::move(values);
  http::Request request;
  request.method = method;
  request.headers = &headers;
  const auto refusal = access.check(request, needs_token);
  return refusal ? refusal->status : 0;
}

}  // namespace

TEST_CASE("a page of another site cannot post") {
  const Access access("");
  const auto post = [&](std::map<std::string, std::string, std::less<>> values) {
    values.emplace("host", "server:8000");
    return refused(access, http::Method::post, std::move(values));
  };
  CHECK(post({}) == 0);
  CHECK(post({{"origin", "http://server:8000"}}) == 0);
  CHECK(post({{"sec-fetch-site", "same-origin"}}) == 0);
  CHECK(post({{"sec-fetch-site", "none"}}) == 0);
  CHECK(post({{"origin", "http://evil.example.com"}}) == 403);
  CHECK(post({{"origin", "http://server:9000"}}) == 403);
  CHECK(post({{"origin", "null"}}) == 403);
  CHECK(post({{"sec-fetch-site", "cross-site"}}) == 403);
  CHECK(post({{"sec-fetch-site", "same-site"}}) == 403);
  CHECK(post({{"origin", "http://server:8000"}, {"sec-fetch-site", "cross-site"}}) == 403);
  CHECK(refused(access, http::Method::get, {{"host", "server"}, {"origin", "http://evil.com"}}) ==
        0);
}

TEST_CASE("where a token is asked for, it has to be the right one") {
  const Access access("secret");
  const auto get = [&](const char* authorization) {
    return refused(access, http::Method::get,
                   {{"host", "server"}, {"authorization", authorization}});
  };
  CHECK(get("Bearer secret") == 0);
  CHECK(get("bearer  secret ") == 0);
  CHECK(get("") == 401);
  CHECK(get("Bearer") == 401);
  CHECK(get("Bearer ") == 401);
  CHECK(get("Bearer secre") == 401);
  CHECK(get("Bearer secret2") == 401);
  CHECK(get("Basic secret") == 401);
  CHECK(refused(access, http::Method::get, {{"host", "server"}}, false) == 0);
}
