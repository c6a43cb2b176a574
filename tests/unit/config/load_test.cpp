#include "common/config/load.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;
using namespace nixbuild::config;

namespace {

struct LoadFixture {
  LoadFixture() {
    settings.add("state_dir", state_dir, "DIR", "")
        .table("cache")
        .add("listen", listen, "ADDRESS", "")
        .add("priority", priority, 0, 1000, "")
        .add("access_log", access_log, "")
        .add_size("nar_cache_size", nar_cache_size, "");
  }

  ConfigFile file(const std::string& content, const std::string& name = "config.toml") const {
    write_file_atomic(directory / name, content, 0644);
    return {directory / name, true};
  }
  std::string error_of(const std::string& content) {
    const ConfigFile config = file(content);
    try {
      load_file(settings, config);
    } catch (const UsageError& error) {
      const std::string prefix = config.path.string() + ":";
      std::string message = error.what();
      REQUIRE(message.starts_with(prefix));
      return message.substr(prefix.size());
    }
    return "no error";
  }

  test::TemporaryDirectory temporary;
  fs::path directory = temporary.path();
  std::string state_dir;
  std::vector<std::string> listen = {"127.0.0.1:5000"};
  int priority = 30;
  bool access_log = false;
  std::uint64_t nar_cache_size = 1;
  Settings settings;
};

}  // namespace

TEST_CASE_FIXTURE(LoadFixture, "a file sets what it names and leaves the rest") {
  const ConfigFile config = file(
      "state_dir = '/var/lib/x'\n[cache]\npriority = 10\n"
      "nar_cache_size = '2G'\nlisten = ['[::1]:1', 'unix:/x']\n");
  load_file(settings, config);
  CHECK(state_dir == "/var/lib/x");
  CHECK(priority == 10);
  CHECK(nar_cache_size == std::uint64_t{2} << 30);
  CHECK(listen == std::vector<std::string>{"[::1]:1", "unix:/x"});
  CHECK_FALSE(access_log);
  CHECK(settings.find("cache", "priority")->origin == config.path.string() + ":3");
  CHECK(settings.find("cache", "access_log")->origin == "default");
}

TEST_CASE_FIXTURE(LoadFixture,
                  "a later file replaces scalars and lists, and keeps what it is silent on") {
  load_file(settings, file("[cache]\npriority = 10\nlisten = ['a', 'b']\n", "1.toml"));
  load_file(settings, file("[cache]\nlisten = ['c']\n", "2.toml"));
  CHECK(priority == 10);
  CHECK(listen == std::vector<std::string>{"c"});
}

TEST_CASE_FIXTURE(LoadFixture, "an error names file, line and key") {
  CHECK(error_of("\n[cache]\npriorty = 1\n") ==
        "3: cache.priorty: unknown key; did you mean 'priority'?");
  CHECK(error_of("[cash]\npriority = 1\n") == "1: [cash]: unknown table");
  CHECK(error_of("priority = 1\n") == "1: priority: unknown key");
  CHECK(error_of("[cache]\npriority = '1'\n") == "2: cache.priority: a whole number was expected");
  CHECK(error_of("[cache]\npriority = 1.0\n") == "2: cache.priority: a whole number was expected");
  CHECK(error_of("[cache]\nlisten = 'a'\n") == "2: cache.listen: a list of strings was expected");
  CHECK(error_of("[cache]\nlisten = ['a', 1]\n") ==
        "2: cache.listen: a list of strings was expected");
  CHECK(error_of("[cache]\naccess_log = 1\n") == "2: cache.access_log: true or false was expected");
  CHECK(error_of("[cache]\npriority = 1001\n") ==
        "2: cache.priority: '1001': a whole number from 0 to 1000 was expected");
  CHECK(error_of("cache = 1\n") == "1: cache: unknown key");
  CHECK(error_of("[cache\n").starts_with("1: "));
  CHECK(error_of("[cache]\npriority = 1\npriority = 2\n").starts_with("3: "));
}

TEST_CASE_FIXTURE(LoadFixture, "only a file that was named has to exist") {
  load_file(settings, {directory / "absent.toml", false});
  CHECK_THROWS_AS(load_file(settings, {directory / "absent.toml", true}), UsageError);
  CHECK_THROWS_AS(load_file(settings, {directory, true}), UsageError);
}

TEST_CASE_FIXTURE(LoadFixture,
                  "the environment comes after the files, its errors name the variable") {
  load_file(settings, file("[cache]\npriority = 10\n"));
  std::map<std::string, std::string> variables = {{"NIXBUILD_CACHE_PRIORITY", "20"},
                                                  {"NIXBUILD_CACHE_LISTEN", "a,b"},
                                                  {"NIXBUILD_STATE_DIR", "/s"}};
  const Environment environment = [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  load_environment(settings, environment);
  CHECK(priority == 20);
  CHECK(listen == std::vector<std::string>{"a", "b"});
  CHECK(state_dir == "/s");
  CHECK(settings.find("cache", "priority")->origin == "NIXBUILD_CACHE_PRIORITY");

  variables["NIXBUILD_CACHE_PRIORITY"] = "high";
  CHECK_THROWS_WITH_AS(
      load_environment(settings, environment),
      "NIXBUILD_CACHE_PRIORITY: 'high': a whole number from 0 to 1000 was expected", UsageError);
}

TEST_CASE("which files are read") {
  std::map<std::string, std::string> variables = {{"HOME", "/home/u"}};
  const Environment environment = [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  auto files = config_files(std::nullopt, environment);
  REQUIRE(files.size() == 2);
  CHECK(files[0].path == "/etc/nixbuild/config.toml");
  CHECK(files[1].path == "/home/u/.config/nixbuild/config.toml");
  CHECK_FALSE(files[1].must_exist);

  variables["XDG_CONFIG_HOME"] = "/x";
  CHECK(config_files(std::nullopt, environment)[1].path == "/x/nixbuild/config.toml");

  variables["NIXBUILD_CONFIG"] = "/named.toml";
  files = config_files(std::nullopt, environment);
  REQUIRE(files.size() == 1);
  CHECK(files[0].path == "/named.toml");
  CHECK(files[0].must_exist);
  CHECK(config_files("/flag.toml", environment)[0].path == "/flag.toml");
}
