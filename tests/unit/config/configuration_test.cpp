#include "common/config/configuration.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/config/cache_settings.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;
using namespace nixbuild::config;

namespace {

struct Directory : test::TemporaryDirectory {
  // The text with the directory's name replaced by DIR.
  std::string named(std::string text) const {
    const std::string name = path().string();
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name)) {
      text.replace(at, name.size(), "DIR");
    }
    return text;
  }
};

std::string write_and_render(const std::string& content) {
  const Directory directory;
  write_file_atomic(directory.path() / "c.toml", content, 0644);
  Configuration configuration;
  configuration.load(directory.path() / "c.toml", [](const std::string& variable) {
    return variable == "NIXBUILD_API_RUNNER" ? std::optional<std::string>("local") : std::nullopt;
  });
  return directory.named(render(configuration));
}

std::string error_of(const std::string& content) {
  const Directory directory;
  write_file_atomic(directory.path() / "c.toml", content, 0644);
  try {
    Configuration configuration;
    configuration.load(directory.path() / "c.toml",
                       [](const std::string&) { return std::optional<std::string>(); });
    configuration.check();
  } catch (const UsageError& error) {
    return directory.named(error.what());
  }
  return "no error";
}

}  // namespace

TEST_CASE("what is shown reads back as the same configuration") {
  const std::string first = write_and_render(
      "[cache]\npriority = 7\nsecret_key_file = ['/k']\n[[repository]]\nname = 'a'\nurl = '/a'\n"
      "lock = 'both'\nsystems = ['x86_64-linux']\n[[repository]]\nname = 'b'\n"
      "url = '/srv/we\"ird\\x'\nbranch = 'a\"b'\n");
  const std::string second = write_and_render(first);
  const auto without_comments = [](const std::string& text) {
    std::string out;
    std::size_t begin = 0;
    while (begin < text.size()) {
      const std::size_t end = text.find('\n', begin);
      const std::string line = text.substr(begin, end - begin);
      out += line.substr(0, line.find("  #")) + '\n';
      begin = end + 1;
    }
    return out;
  };
  CHECK(without_comments(first) == without_comments(second));
}

TEST_CASE("each value tells where it comes from") {
  const std::string shown = write_and_render("[cache]\npriority = 7\n");
  CHECK(shown.find("priority = 7  # DIR/c.toml:2\n") != std::string::npos);
  CHECK(shown.find("runner = \"local\"  # NIXBUILD_API_RUNNER\n") != std::string::npos);
  CHECK(shown.find("compression = \"zstd\"  # default\n") != std::string::npos);
  CHECK(shown.find("# compression_level is not set\n") != std::string::npos);
  CHECK(shown.find("# [[repository]]\n# name = \"nix-terminal\"\n") != std::string::npos);
}

TEST_CASE("a URL with a password is refused, and the error does not show it") {
  const std::string error = error_of("[[repository]]\nname = 'a'\nurl = 'https://u:hunter2@h/a'\n");
  CHECK(error.find("hunter2") == std::string::npos);
  CHECK(error.find("netrc_file") != std::string::npos);
}

TEST_CASE("the server has a short variable; the long one weighs more") {
  std::map<std::string, std::string> variables = {{"NIXBUILD_SERVER", "short"}};
  const Environment environment = [&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
  Configuration configuration;
  load_environment(configuration.settings, environment);
  CHECK(configuration.client.server == "short");
  CHECK(configuration.settings.find("client", "server")->origin == "NIXBUILD_SERVER");
  variables["NIXBUILD_CLIENT_SERVER"] = "long";
  load_environment(configuration.settings, environment);
  CHECK(configuration.client.server == "long");
}

TEST_CASE("what no server could follow is refused where it stands") {
  const auto begins = [](const std::string& content, const std::string& start) {
    const std::string error = error_of(content);
    CAPTURE(error);
    CHECK(error.starts_with("DIR/c.toml:" + start));
  };
  begins("[cache]\nlisten = ['127.0.0.1:0',\n'0.0.0.0']\n", "2: cache.listen: '0.0.0.0' ");
  begins("[cache]\nstore_dir = 'relative'\n", "2: cache.store_dir: the store directory 'relat");
  begins("[cache]\ncompression = 'xz'\ncompression_level = 19\n",
         "3: cache.compression_level: 19: xz supports levels 0 to 9");
  begins("[cache]\ncompression_level = 0\n", "2: cache.compression_level: 0: zstd supports levels");
  begins("[api]\nlisten = ['host:1']\n", "2: api.listen: 'host:1' ");
  begins("[api]\ncache_url = 'gopher://x'\n", "2: api.cache_url: 'gopher://x': ");
  begins("[client]\nserver = 'http://'\n", "2: client.server: 'http://': ");
  CHECK(error_of("[cache]\ncompression = 'xz'\ncompression_level = 9\n") == "no error");
  CHECK(error_of("[cache]\ncompression = 'none'\ncompression_level = 22\n") == "no error");
  CHECK(error_of("[cache]\nlisten = ['[::1]:0', 'tailscale:5000', 'unix:/run/x.sock']\n") ==
        "no error");
}

TEST_CASE("levels of compression") {
  CHECK_NOTHROW(check_level(compress::Compression::zstd, 1));
  CHECK_NOTHROW(check_level(compress::Compression::zstd, 22));
  CHECK_NOTHROW(check_level(compress::Compression::xz, 0));
  CHECK_NOTHROW(check_level(compress::Compression::xz, 9));
  CHECK_NOTHROW(check_level(compress::Compression::none, 99));
  CHECK_THROWS_AS(check_level(compress::Compression::zstd, 0), UsageError);
  CHECK_THROWS_AS(check_level(compress::Compression::zstd, 23), UsageError);
  CHECK_THROWS_AS(check_level(compress::Compression::xz, -1), UsageError);
  CHECK_THROWS_AS(check_level(compress::Compression::xz, 10), UsageError);
}
