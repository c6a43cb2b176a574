#include "server/store/nar_source.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <random>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "common/nix/nar.hpp"
#include "test_support.hpp"

using namespace nixbuild;
using namespace nixbuild::store;
using namespace nixbuild::store::test;

namespace {

std::string read_piece(const NarSource::Piece& piece) {
  std::string bytes(piece.bytes);
  if (piece.fd < 0) {
    CHECK(piece.length == 0);
    return bytes;
  }
  std::string content(piece.length, '\0');
  std::size_t count = 0;
  while (count < content.size()) {
    const ssize_t got = ::pread(piece.fd, content.data() + count, content.size() - count,
                                static_cast<off_t>(piece.offset + count));
    REQUIRE(got > 0);
    count += static_cast<std::size_t>(got);
  }
  return bytes + content;
}

std::string read_all(NarSource source) {
  std::string bytes;
  for (;;) {
    const NarSource::Piece piece = source.next();
    CHECK(piece.bytes.size() <= 256 * 1024);
    bytes += read_piece(piece);
    if (piece.last) return bytes;
  }
}

std::string read_from(const fs::path& path, std::uint64_t offset) {
  NarSource source(path);
  source.seek(offset);
  return read_all(std::move(source));
}

std::string dumped(const fs::path& path) {
  std::string bytes;
  nix::dump_nar(path, [&](std::string_view piece) { bytes += piece; });
  return bytes;
}

// A tree with files of all relevant sizes, links, odd names, empty files and directories.
void make_tree(const fs::path& root, std::mt19937& random, int depth) {
  static const std::array<std::size_t, 14> sizes{0,     1,     7,     8,      9,      100,    4095,
                                                 65535, 65536, 65537, 131072, 200000, 300001, 12};
  fs::create_directory(root);
  const auto count = random() % 8;
  for (unsigned i = 0; i < count; ++i) {
    static const std::array<const char*, 8> stems{"a",  "B",          "\xff\xfe", "ünïcödé",
                                                  "-x", "with space", "z.txt",    "\x01"};
    const fs::path path = root / (stems[random() % stems.size()] + std::to_string(i));
    switch (random() % 6) {
      case 0:
        if (depth > 0) make_tree(path, random, depth - 1);
        break;
      case 1:
        fs::create_symlink("../some/where", path);
        break;
      case 2:
        write_text(path, "executable");
        fs::permissions(path, fs::perms(0555));
        break;
      default:
        write_text(path, std::string(sizes[random() % sizes.size()], static_cast<char>('a' + i)));
    }
  }
}

}  // namespace

TEST_CASE("a file, an executable, a symlink and an empty directory are each a NAR") {
  const TemporaryDirectory directory;
  const fs::path node = directory.path() / "node";
  SUBCASE("file") {
    write_text(node, "content");
  }
  SUBCASE("empty file") {
    write_text(node, "");
  }
  SUBCASE("executable") {
    write_text(node, "#!/bin/sh\n");
    fs::permissions(node, fs::perms(0755));
  }
  SUBCASE("executable for the group only is none") {
    write_text(node, "#!/bin/sh\n");
    fs::permissions(node, fs::perms(0654));
  }
  SUBCASE("symlink to nowhere") {
    fs::create_symlink("/nowhere/at all", node);
  }
  SUBCASE("symlink to a directory is not followed") {
    fs::create_symlink("/etc", node);
  }
  SUBCASE("empty directory") {
    fs::create_directory(node);
  }
  SUBCASE("large file") {
    write_text(node, std::string(1'000'003, 'x'));
  }
  const std::string nar = read_all(NarSource(node));
  CHECK(nar == dumped(node));
  if (have_program("nix-store")) CHECK(nar == run("nix-store --dump " + node.string()));
}

TEST_CASE("random trees come out as nix-store --dump writes them") {
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    const TemporaryDirectory directory;
    const fs::path tree = directory.path() / "tree";
    make_tree(tree, random, 4);
    const std::string nar = read_all(NarSource(tree));
    CHECK(nar == dumped(tree));
    if (round < 5 && have_program("nix-store")) {
      CHECK(nar == run("nix-store --dump " + tree.string()));
    }
  }
}

TEST_CASE("a NAR can be had from each of its bytes on") {
  const TemporaryDirectory directory;
  const fs::path tree = directory.path() / "tree";
  fs::create_directories(tree / "b" / "c");
  write_text(tree / "a", "0123456789");
  write_text(tree / "b" / "empty", "");
  write_text(tree / "b" / "c" / "run", "exec");
  fs::permissions(tree / "b" / "c" / "run", fs::perms(0555));
  fs::create_symlink("a", tree / "link");
  const std::string nar = read_all(NarSource(tree));
  for (std::size_t offset = 0; offset <= nar.size() + 20; ++offset) {
    CAPTURE(offset);
    CHECK(read_from(tree, offset) == (offset < nar.size() ? nar.substr(offset) : std::string()));
  }
}

TEST_CASE("large trees can be had from random bytes on") {
  std::mt19937 random(11);
  const TemporaryDirectory directory;
  const fs::path tree = directory.path() / "tree";
  fs::create_directory(tree);
  for (int i = 0; i < 6; ++i)
    make_tree(tree / std::to_string(i), random, 3);
  write_text(tree / "large", std::string(500'000, 'L'));
  write_text(tree / "small", std::string(60'000, 's'));
  const std::string nar = read_all(NarSource(tree));
  REQUIRE(nar.size() > 500'000);
  for (int i = 0; i < 300; ++i) {
    const std::size_t offset = random() % nar.size();
    CAPTURE(offset);
    REQUIRE(read_from(tree, offset) == nar.substr(offset));
  }
}

TEST_CASE("a large file is handed out as a descriptor, from where it is wanted") {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "file";
  write_text(file, std::string(1 << 20, 'x'));
  NarSource source(file);
  source.seek(96 + 1000);  // a NAR of one file has 96 bytes before its content
  const NarSource::Piece piece = source.next();
  CHECK(piece.bytes.empty());
  CHECK(piece.fd >= 0);
  CHECK(piece.offset == 1000);
  CHECK(piece.length == (1 << 20) - 1000);
  CHECK_FALSE(piece.last);
  CHECK(source.next().last);
}

TEST_CASE("where much is left out, it is told now and then that nothing has come yet") {
  const TemporaryDirectory directory;
  constexpr int count = 2000;
  for (int i = 0; i < count; ++i)
    write_text(directory.path() / std::to_string(i), "content");
  const std::string nar = dumped(directory.path());
  NarSource source(directory.path());
  source.seek(nar.size() - 10);
  int empty = 0;
  for (;;) {
    const NarSource::Piece piece = source.next();
    if (!piece.bytes.empty() || piece.last) {
      CHECK(piece.bytes == std::string_view(nar).substr(nar.size() - 10));
      CHECK(piece.last);
      break;
    }
    ++empty;
  }
  CHECK(empty >= count / 500);
  CHECK(read_from(directory.path(), nar.size() / 2) == nar.substr(nar.size() / 2));
}

TEST_CASE("files beyond 4 GiB keep their size") {
  const TemporaryDirectory directory;
  const fs::path tree = directory.path() / "tree";
  fs::create_directory(tree);
  constexpr std::uint64_t size = (std::uint64_t{5} << 30) + 3;
  write_text(tree / "huge", "");
  REQUIRE(::truncate((tree / "huge").c_str(), size) == 0);
  write_text(tree / "next", "after it");

  NarSource source(tree);
  const NarSource::Piece head = source.next();
  CHECK(head.length == size);
  CHECK(head.offset == 0);
  const std::uint64_t content = head.bytes.size();
  const std::string tail = read_all(std::move(source));
  CHECK(tail.find("after it") != std::string::npos);

  NarSource rest(tree);
  rest.seek(content + size - 1);
  const NarSource::Piece last_byte = rest.next();
  CHECK(last_byte.offset == size - 1);
  CHECK(last_byte.length == 1);
  CHECK(read_all(std::move(rest)) == tail);
  CHECK(read_from(tree, content + size + 2) == tail.substr(2));
}

TEST_CASE("a directory tree that is deeper than the descriptors a process may have") {
  const TemporaryDirectory directory;
  constexpr int levels = 1500;
  UniqueFd at(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY));
  for (int i = 0; i < levels; ++i) {
    for (const char* name : {"d", "f"}) {
      if (*name == 'd') {
        REQUIRE(::mkdirat(at.get(), name, 0755) == 0);
      } else {
        UniqueFd(::openat(at.get(), name, O_CREAT | O_WRONLY, 0644));
      }
    }
    at.reset(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY));
    REQUIRE(at);
  }
  const std::string nar = read_all(NarSource(directory.path()));
  CHECK(nar.size() > levels * 300);
  std::size_t files = 0;
  for (std::size_t at_byte = nar.find("regular"); at_byte != std::string::npos;
       at_byte = nar.find("regular", at_byte + 1)) {
    ++files;
  }
  CHECK(files == levels);
  if (have_program("nix-store")) {
    // Nix 2.34 refuses more than 64 levels.
    const std::string dumped =
        run("nix-store --dump " + directory.path().string() + " 2>/dev/null || echo refused");
    CHECK((dumped == nar || dumped.ends_with("refused\n")));
  }
  // Paths this long can only be removed one directory at a time.
  run("cd " + directory.path().string() + " && rm -rf d f");
}

TEST_CASE("what is gone is ENOENT, at the start and on the way") {
  const TemporaryDirectory directory;
  const auto error_of = [](NarSource& source) {
    try {
      for (;;) {
        if (source.next().last) return 0;
      }
    } catch (const SystemError& error) {
      return error.error_number();
    }
  };
  NarSource absent(directory.path() / "absent");
  CHECK(error_of(absent) == ENOENT);

  const fs::path tree = directory.path() / "tree";
  fs::create_directories(tree / "b");
  write_text(tree / "a", std::string(200'000, 'x'));
  write_text(tree / "b" / "c", "c");
  NarSource source(tree);
  CHECK_FALSE(source.next().last);
  fs::remove_all(tree);
  CHECK(error_of(source) == ENOENT);
}

TEST_CASE("a large file that changes its size is an error, and so is what no NAR can hold") {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "file";
  write_text(file, std::string(200'000, 'x'));
  for (const off_t size : {100'000, 300'000}) {
    NarSource source(file);
    CHECK(source.next().fd >= 0);
    REQUIRE(::truncate(file.c_str(), size) == 0);
    CHECK_THROWS_AS(source.next(), Error);
  }
  const fs::path pipe = directory.path() / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  NarSource source(pipe);
  CHECK_THROWS_WITH_AS(source.next(), doctest::Contains("pipe"), Error);
}
