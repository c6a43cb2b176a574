#include "common/base/files.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "../support/temporary_directory.hpp"
#include "common/base/error.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;

TEST_CASE("a file that is not there is nothing, a directory is an error") {
  const test::TemporaryDirectory directory;
  CHECK(read_file(directory.path() / "absent") == std::nullopt);
  CHECK_THROWS_AS(read_file(directory.path()), SystemError);
}

TEST_CASE("a file longer than the limit is refused") {
  const test::TemporaryDirectory directory;
  write_file_atomic(directory.path() / "f", std::string(100'000, 'x'), 0600);
  CHECK(read_file(directory.path() / "f")->size() == 100'000);
  CHECK_THROWS_AS(read_file(directory.path() / "f", 99'999), Error);
}

TEST_CASE("an atomic write replaces, keeps the mode it was told and leaves nothing else behind") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "f";
  write_file_atomic(file, "one", 0600);
  write_file_atomic(file, "two", 0640);
  CHECK(read_file(file) == "two");
  struct stat status {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0640);
  CHECK(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("an existing file is left alone where it must not be replaced") {
  const test::TemporaryDirectory directory;
  const fs::path file = directory.path() / "f";
  write_file_atomic(file, "one", 0600, IfExists::fail);
  CHECK_THROWS_AS(write_file_atomic(file, "two", 0600, IfExists::fail), SystemError);
  CHECK(read_file(file) == "one");
  CHECK(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("a file beneath a directory is read, an absent one is nothing") {
  const test::TemporaryDirectory directory;
  fs::create_directories(directory.path() / "a/b");
  write_file_atomic(directory.path() / "a/b/f", "text", 0600);
  CHECK(read_file_beneath(directory.path(), "a/b/f", 100) == "text");
  CHECK(read_file_beneath(directory.path(), "a/b/g", 100) == std::nullopt);
  CHECK(read_file_beneath(directory.path(), "a/b/f/g", 100) == std::nullopt);
  CHECK(read_file_beneath(directory.path() / "absent", "f", 100) == std::nullopt);
  CHECK_THROWS_AS(read_file_beneath(directory.path(), "a/b/f", 3), Error);
}

TEST_CASE("nothing beneath a directory leads out of it") {
  const test::TemporaryDirectory outside;
  write_file_atomic(outside.path() / "f", "secret", 0600);
  const test::TemporaryDirectory directory;
  write_file_atomic(directory.path() / "f", "text", 0600);
  fs::create_symlink(outside.path() / "f", directory.path() / "to_file");
  fs::create_symlink("f", directory.path() / "to_sibling");
  fs::create_symlink("absent", directory.path() / "to_nothing");
  fs::create_directory_symlink(outside.path(), directory.path() / "to_directory");
  const std::string up = "../" + outside.path().filename().string() + "/f";
  for (const std::string& path :
       {std::string("to_file"), std::string("to_sibling"), std::string("to_nothing"),
        std::string("to_directory/f"), up, (outside.path() / "f").string()}) {
    CAPTURE(path);
    CHECK_THROWS_AS(read_file_beneath(directory.path(), path, 100), Error);
  }
  CHECK(exists_beneath(directory.path(), "to_file"));
  CHECK(exists_beneath(directory.path(), "to_nothing"));
  CHECK(exists_beneath(directory.path(), "f"));
  CHECK_FALSE(exists_beneath(directory.path(), "g"));
  CHECK_FALSE(exists_beneath(directory.path(), "to_directory/f"));
  CHECK_FALSE(exists_beneath(directory.path(), up));
}

TEST_CASE("only regular files are opened beneath a directory, without waiting") {
  const test::TemporaryDirectory directory;
  REQUIRE(::mkfifo((directory.path() / "fifo").c_str(), 0600) == 0);
  fs::create_directory(directory.path() / "directory");
  CHECK_THROWS_AS(open_beneath(directory.path(), "fifo"), Error);
  CHECK_THROWS_AS(open_beneath(directory.path(), "directory"), Error);
  CHECK(exists_beneath(directory.path(), "fifo"));
}

#ifdef __linux__
// Filters system calls like systemd's RestrictSUIDSGID, for the calling process.
static bool forbid_openat2() {
  std::array<sock_filter, 4> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter = {static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_CASE("where the system forbids openat2, nothing leads out of a directory either") {
  const test::TemporaryDirectory outside;
  write_file_atomic(outside.path() / "f", "secret", 0600);
  const test::TemporaryDirectory directory;
  fs::create_directories(directory.path() / "a/b");
  write_file_atomic(directory.path() / "a/b/f", "text", 0600);
  fs::create_symlink(outside.path() / "f", directory.path() / "to_file");
  fs::create_directory_symlink(outside.path(), directory.path() / "to_directory");
  REQUIRE(::mkfifo((directory.path() / "fifo").c_str(), 0600) == 0);
  const std::string up = "a/../../" + outside.path().filename().string() + "/f";
  // Exits with the number of the first check that fails.
  const pid_t child = ::fork();
  if (child == 0) {
    if (!forbid_openat2()) ::_exit(100);
    int number = 0;
    const auto check = [&](bool good) {
      ++number;
      if (!good) ::_exit(number);
    };
    const auto refused = [&](const std::string& path) {
      try {
        return !open_beneath(directory.path(), path);
      } catch (const Error&) {
        return true;
      }
    };
    check(read_file_beneath(directory.path(), "a/b/f", 100) == "text");
    check(!open_beneath(directory.path(), "a/b/g"));
    check(refused("to_file"));
    check(refused("to_directory/f"));
    check(refused(up));
    check(refused("fifo"));
    check(exists_beneath(directory.path(), "to_file"));
    check(!exists_beneath(directory.path(), "to_directory/f"));
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}
#endif
