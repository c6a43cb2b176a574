#include "common/protocol/routes.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

using namespace nixbuild::protocol;

TEST_CASE("a path is that of its operation's route") {
  CHECK(path_of(Operation::trigger) == "/build/trigger");
  CHECK(path_of(Operation::trigger, "nix-terminal") == "/build/trigger/nix-terminal");
  CHECK(path_of(Operation::stream, "r") == "/build/logs/r/stream");
  CHECK(path_of(Operation::build_lock, "12") == "/builds/12/flake.lock");
  CHECK_THROWS(path_of(Operation::build));
  CHECK_THROWS(path_of(Operation::health, "x"));
}

TEST_CASE("no argument can leave its segment of the path") {
  CHECK(path_of(Operation::status, "../a b?c#d%") == "/build/status/..%2Fa%20b%3Fc%23d%25");
  CHECK(path_of(Operation::status, "\xc3\xa4") == "/build/status/%C3%A4");
}

TEST_CASE("a query has the pairs that have a value") {
  CHECK(with_query("/builds", {}) == "/builds");
  CHECK(with_query("/builds", {{"repository", ""}, {"limit", "5"}, {"before", "9"}}) ==
        "/builds?limit=5&before=9");
  CHECK(with_query("/b", {{"a", "x&y=z"}}) == "/b?a=x%26y%3Dz");
}

TEST_CASE("every route has a name of its own, and a parameter for its placeholder") {
  std::set<std::string_view> ids;
  std::set<std::pair<Method, std::string_view>> paths;
  for (const Route& route : routes()) {
    CAPTURE(route.path);
    CHECK(ids.insert(route.id).second);
    CHECK(paths.insert({route.method, route.path}).second);
    const auto in_path = std::count_if(
        route.parameters.begin(), route.parameters.end(), [&](const Parameter& parameter) {
          if (parameter.place != Place::path) return false;
          CHECK(route.path.find("{" + std::string(parameter.name) + "}") != std::string::npos);
          return true;
        });
    CHECK(in_path == std::count(route.path.begin(), route.path.end(), '{'));
  }
}
