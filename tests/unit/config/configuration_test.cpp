#include "common/config/configuration.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "common/base/files.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;
using namespace nixbuild::config;

namespace {

std::string write_and_render(const std::string& content) {
  std::string name = (fs::temp_directory_path() / "nixbuild-whole-XXXXXX").string();
  const fs::path directory = ::mkdtemp(name.data());
  write_file_atomic(directory / "c.toml", content, 0644);
  Configuration configuration;
  configuration.load(directory / "c.toml", [](const std::string& variable) {
    return variable == "NIXBUILD_API_RUNNER" ? std::optional<std::string>("local") : std::nullopt;
  });
  fs::remove_all(directory);
  std::string shown = render(configuration);
  for (std::size_t at = shown.find(directory.string()); at != std::string::npos;
       at = shown.find(directory.string())) {
    shown.replace(at, directory.string().size(), "DIR");
  }
  return shown;
}

}  // namespace

TEST_CASE("what is shown reads back as the same configuration") {
  const std::string first = write_and_render(
      "[cache]\npriority = 7\nsecret_key_file = ['/k']\n[[repository]]\nname = 'a'\nurl = '/a'\n"
      "lock = 'both'\nsystems = ['x86_64-linux']\n");
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
  CHECK(shown.find("name = \"nix-terminal\"") != std::string::npos);
}

TEST_CASE("no password is shown") {
  const std::string shown =
      write_and_render("[[repository]]\nname = 'a'\nurl = 'https://u:hunter2@h/a'\n");
  CHECK(shown.find("hunter2") == std::string::npos);
  CHECK(shown.find("url = \"https://***@h/a\"") != std::string::npos);
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
