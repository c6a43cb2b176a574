#include "cli/bootstrap/placement.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"

using namespace nixbuild;
using namespace nixbuild::cli;
namespace fs = std::filesystem;

namespace {

struct PlacementDirectory : test::TemporaryDirectory {
  std::string read(const fs::path& name) const {
    return read_file(path() / name).value_or("(none)");
  }
  void write(const fs::path& name, const std::string& text) const {
    std::ofstream(path() / name) << text;
  }
};

mode_t mode_of(const fs::path& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777U;
}

const std::vector<GeneratedFile> files = {{".gitignore", "/secrets.nix\n", 0644},
                                          {"secrets.nix", "{ }\n", 0600},
                                          {"hosts/a/home.nix", "{ }\n", 0644}};

std::size_t entries(const fs::path& path) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(path))
    ++count;
  return count;
}

}  // namespace

TEST_CASE("files are made with their modes, and nothing else is left") {
  const PlacementDirectory directory;
  const auto planned = plan_placement(directory.path() / "new", files);
  CHECK(TargetDirectory(directory.path() / "new").place(planned).empty());
  CHECK(directory.read("new/secrets.nix") == "{ }\n");
  CHECK(mode_of(directory.path() / "new/secrets.nix") == mode_t{0600});
  CHECK(mode_of(directory.path() / "new/.gitignore") == mode_t{0644});
  CHECK(directory.read("new/hosts/a/home.nix") == "{ }\n");
  CHECK(entries(directory.path() / "new") == 3);
}

TEST_CASE("what says the same is kept, a secret's mode is mended") {
  const PlacementDirectory directory;
  directory.write("secrets.nix", "{ }\n");
  ::chmod((directory.path() / "secrets.nix").c_str(), 0644);
  const auto planned = plan_placement(directory.path(), files);
  CHECK(planned[1].placement == Placement::keep);
  TargetDirectory(directory.path()).place(planned);
  CHECK(mode_of(directory.path() / "secrets.nix") == mode_t{0600});
}

TEST_CASE("what differs is in conflict; replaced, it stays as a backup") {
  const PlacementDirectory directory;
  directory.write("secrets.nix", "mine");
  const auto planned = plan_placement(directory.path(), files);
  CHECK(planned[0].placement == Placement::create);
  CHECK(planned[1].placement == Placement::conflict);
  const auto backups = TargetDirectory(directory.path()).place(planned);
  REQUIRE(backups.size() == 1);
  CHECK(backups.front().filename().string().starts_with("secrets.nix.backup-"));
  CHECK(read_file(backups.front()) == "mine");
  CHECK(directory.read("secrets.nix") == "{ }\n");
}

TEST_CASE("a .gitignore is added to") {
  const PlacementDirectory directory;
  directory.write(".gitignore", "mine");
  const auto planned = plan_placement(directory.path(), files);
  CHECK(planned[0].placement == Placement::extend);
  CHECK(TargetDirectory(directory.path()).place(planned).empty());
  CHECK(directory.read(".gitignore") == "mine\n/secrets.nix\n");
  CHECK(plan_placement(directory.path(), files)[0].placement == Placement::keep);
}

TEST_CASE("a file that comes to be there meanwhile is not replaced") {
  const PlacementDirectory directory;
  const auto planned = plan_placement(directory.path(), files);
  directory.write("secrets.nix", "of another");
  CHECK_THROWS_AS(TargetDirectory(directory.path()).place(planned), SystemError);
  CHECK(directory.read("secrets.nix") == "of another");
}

TEST_CASE("one at a time, and what a killed one left is removed") {
  const PlacementDirectory directory;
  fs::create_directory(directory.path() / ".nixbuild-bootstrap-abc123");
  directory.write(".nixbuild-bootstrap-abc123/0", "half");
  const TargetDirectory target(directory.path());
  CHECK(entries(directory.path()) == 0);
  CHECK_THROWS_AS(TargetDirectory(directory.path()), Error);
}

TEST_CASE("lines are added once") {
  CHECK(with_lines("", "a\nb\n") == "a\nb\n");
  CHECK(with_lines("a\n", "a\nb\n") == "a\nb\n");
  CHECK(with_lines("x", "a\n") == "x\na\n");
  CHECK(with_lines("x\na", "a\n") == "x\na");
  CHECK(with_lines("aa\n", "a\n") == "aa\na\n");
}
