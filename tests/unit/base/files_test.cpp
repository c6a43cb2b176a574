#include "common/base/files.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "common/base/error.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;

namespace {

struct TemporaryDirectory {
  TemporaryDirectory() {
    std::string name = (fs::temp_directory_path() / "nixbuild-files-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~TemporaryDirectory() { fs::remove_all(path); }
  fs::path path;
};

}  // namespace

TEST_CASE("a file that is not there is nothing, a directory is an error") {
  const TemporaryDirectory directory;
  CHECK(read_file(directory.path / "absent") == std::nullopt);
  CHECK_THROWS_AS(read_file(directory.path), SystemError);
}

TEST_CASE("a file longer than the limit is refused") {
  const TemporaryDirectory directory;
  write_file_atomic(directory.path / "f", std::string(100'000, 'x'), 0600);
  CHECK(read_file(directory.path / "f")->size() == 100'000);
  CHECK_THROWS_AS(read_file(directory.path / "f", 99'999), Error);
}

TEST_CASE("an atomic write replaces, keeps the mode it was told and leaves nothing else behind") {
  const TemporaryDirectory directory;
  const fs::path file = directory.path / "f";
  write_file_atomic(file, "one", 0600);
  write_file_atomic(file, "two", 0640);
  CHECK(read_file(file) == "two");
  struct stat status {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0640);
  CHECK(std::distance(fs::directory_iterator(directory.path), fs::directory_iterator()) == 1);
}

TEST_CASE("an existing file is left alone where it must not be replaced") {
  const TemporaryDirectory directory;
  const fs::path file = directory.path / "f";
  write_file_atomic(file, "one", 0600, IfExists::fail);
  CHECK_THROWS_AS(write_file_atomic(file, "two", 0600, IfExists::fail), SystemError);
  CHECK(read_file(file) == "one");
  CHECK(std::distance(fs::directory_iterator(directory.path), fs::directory_iterator()) == 1);
}
