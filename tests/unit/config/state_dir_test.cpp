#include "common/config/state_dir.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::config;

TEST_CASE("a server's state: what was said, systemd's, the installed one, XDG's, the home's") {
  std::map<std::string, std::string> variables;
  const Environment environment = [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  const std::filesystem::path missing = "/no/such/directory";
  const std::filesystem::path installed = std::filesystem::temp_directory_path();
  CHECK_THROWS_AS(resolve_state_dir("", environment, missing), UsageError);
  variables["HOME"] = "/home/u";
  CHECK(resolve_state_dir("", environment, missing) == "/home/u/.local/state/nixbuild");
  variables["XDG_STATE_HOME"] = "/x";
  CHECK(resolve_state_dir("", environment, missing) == "/x/nixbuild");
  CHECK(resolve_state_dir("", environment, installed) == installed);
  CHECK(user_state_dir(environment) == "/x/nixbuild");
  variables["STATE_DIRECTORY"] = "/var/lib/nixbuild:/var/lib/other";
  CHECK(resolve_state_dir("", environment, installed) == "/var/lib/nixbuild");
  CHECK(user_state_dir(environment) == "/x/nixbuild");
  CHECK(resolve_state_dir("/said", environment, installed) == "/said");
  variables["STATE_DIRECTORY"] = "relative";
  CHECK_THROWS_AS(resolve_state_dir("", environment, missing), UsageError);
}

TEST_CASE("the proxy's cache: what was said, systemd's, XDG's, the home's") {
  std::map<std::string, std::string> variables;
  const Environment environment = [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  CHECK_THROWS_AS(resolve_cache_dir("", environment), UsageError);
  variables["HOME"] = "/home/u";
  CHECK(resolve_cache_dir("", environment) == "/home/u/.cache/nixbuild-proxy");
  variables["XDG_CACHE_HOME"] = "/x";
  CHECK(resolve_cache_dir("", environment) == "/x/nixbuild-proxy");
  variables["CACHE_DIRECTORY"] = "/var/cache/nixbuild-proxy:/other";
  CHECK(resolve_cache_dir("", environment) == "/var/cache/nixbuild-proxy");
  CHECK(resolve_cache_dir("/said", environment) == "/said");
}
