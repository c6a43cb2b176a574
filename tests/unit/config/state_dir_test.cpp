#include "common/config/state_dir.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::config;

TEST_CASE("the state directory: what was said, systemd's, XDG's, the home's, in this order") {
  std::map<std::string, std::string> variables;
  const Environment environment = [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  CHECK_THROWS_AS(resolve_state_dir("", environment), UsageError);
  variables["HOME"] = "/home/u";
  CHECK(resolve_state_dir("", environment) == "/home/u/.local/state/nixbuild");
  variables["XDG_STATE_HOME"] = "/x";
  CHECK(resolve_state_dir("", environment) == "/x/nixbuild");
  variables["STATE_DIRECTORY"] = "/var/lib/nixbuild:/var/lib/other";
  CHECK(resolve_state_dir("", environment) == "/var/lib/nixbuild");
  CHECK(resolve_state_dir("/said", environment) == "/said");
  variables["STATE_DIRECTORY"] = "relative";
  CHECK_THROWS_AS(resolve_state_dir("", environment), UsageError);
}
