#include "server/builder/realise.hpp"

#include <doctest/doctest.h>

#include "../support/temporary_directory.hpp"

namespace fs = std::filesystem;
using namespace nixbuild::builder;

TEST_CASE("roots of the newest builds stay, and nothing else is touched") {
  const nixbuild::test::TemporaryDirectory directory;
  for (const char* name : {"1", "2", "9", "10", "11", "12", "other", "7x"}) {
    fs::create_directories(directory.path() / name);
    if (std::string_view(name) != "11" && std::string_view(name) != "12") {
      fs::create_symlink("/nix/store/x", directory.path() / name / "root");
    }
  }
  remove_old_roots(directory.path(), 2);
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(directory.path())) {
    left.push_back(entry.path().filename());
  }
  std::sort(left.begin(), left.end());
  CHECK(left == std::vector<std::string>{"10", "7x", "9", "other"});
  remove_old_roots(directory.path() / "absent", 2);
}
