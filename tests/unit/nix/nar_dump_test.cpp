#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>

#include "../support/skip.hpp"
#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "common/nix/nar.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using namespace nixbuild;
using namespace nixbuild::nix;
using namespace nixbuild::nix::test;

namespace {

// A random tree of up to about 40 objects with odd names and sizes around every limit.
class RandomTree {
 public:
  explicit RandomTree(unsigned seed) : random_(seed) {}

  void make(const fs::path& path, int depth = 0) {
    const unsigned kind = below(depth == 0 ? 20 : 10);
    if (kind == 0) {
      std::string target = bytes(1 + below(200));
      std::replace(target.begin(), target.end(), '\0', 'x');
      fs::create_symlink(target, path);
    } else if (kind < 5 || depth == 4) {
      write(path, bytes(size()), below(3) == 0);
    } else {
      fs::create_directory(path);
      for (unsigned left = below(8); left > 0; --left) {
        const fs::path entry = path / name();
        if (!fs::exists(fs::symlink_status(entry))) make(entry, depth + 1);
      }
    }
  }

 private:
  unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }
  std::string bytes(std::size_t size) {
    std::string out(size, '\0');
    for (char& byte : out)
      byte = static_cast<char>(random_());
    return out;
  }
  std::string name() {
    while (true) {
      std::string out = bytes(1 + (below(10) == 0 ? below(255) : below(3)));
      for (char& c : out)
        if (c == '\0' || c == '/') c = 'x';
      if (out != "." && out != "..") return out;
    }
  }
  std::size_t size() {
    static constexpr std::size_t borders[] = {0, 8, 16, 4096, 65536, 131072, 262144, 524288};
    return borders[below(10) == 0 ? below(8) : below(3)] + below(10);
  }

  std::mt19937 random_;
};

std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
  std::string output;
  char buffer[4096];
  while (const std::size_t size = std::fread(buffer, 1, sizeof buffer, pipe.get()))
    output.append(buffer, size);
  return output;
}

template <typename Function>
std::string thrown_by(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("random trees have the NAR that the format's definition gives, and come back from it") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    const TemporaryDirectory directory;
    const fs::path tree = directory.path() / "tree";
    RandomTree(seed).make(tree);
    const std::string nar = dump(tree);
    CHECK(nar == nar_by_definition(tree));
    CHECK(list_nar_of(tree) == listing_of(nar));
    const fs::path copy = directory.path() / "copy";
    restore(nar, copy);
    CHECK(dump(copy) == nar);
  }
}

TEST_CASE("random trees have the NAR that the nix-store at hand gives") {
  if (std::system("nix-store --version >/dev/null 2>&1") != 0) {
    nixbuild::test::skip("no nix-store in PATH");
    return;
  }
  for (unsigned seed = 100; seed < 110; ++seed) {
    CAPTURE(seed);
    const TemporaryDirectory directory;
    const fs::path tree = directory.path() / "tree";
    RandomTree(seed).make(tree);
    CHECK(dump(tree) == output_of("nix-store --dump '" + tree.string() + "'"));
  }
}

TEST_CASE("small files and framing are gathered, large files come in pieces") {
  const TemporaryDirectory directory;
  write(directory.path() / "large", std::string(3'000'001, 'x'));
  fs::create_directory(directory.path() / "small");
  for (std::size_t i = 0; i < 3000; ++i)
    write(directory.path() / "small" / std::to_string(i), std::string(i % 100, 'y'));
  std::size_t pieces = 0;
  dump_nar(directory.path(), [&](std::string_view) { ++pieces; });
  CHECK(pieces < 40);
  CHECK(dump(directory.path()) == nar_by_definition(directory.path()));
}

TEST_CASE("a file larger than 4 GiB has its size, and what follows it its offset") {
  const TemporaryDirectory directory;
  const std::uint64_t size = (std::uint64_t{4} << 30) + 5;
  write(directory.path() / "a", "");
  fs::resize_file(directory.path() / "a", size);
  write(directory.path() / "z", "z");
  const NarListing listing = list_nar_of(directory.path());
  CHECK(listing.entries.at("a").size == size);
  CHECK(listing.entries.at("z").nar_offset > size);

  struct Enough {};
  std::string begin;
  CHECK_THROWS_AS(dump_nar(directory.path() / "a",
                           [&](std::string_view bytes) {
                             if (!begin.empty()) throw Enough();
                             begin = bytes;
                           }),
                  Enough);
  CHECK(begin == nar_words("nix-archive-1", "(", "type", "regular", "contents") +
                     std::string("\x05\x00\x00\x00\x01\x00\x00\x00", 8));
}

TEST_CASE("a symlink is dumped itself, also with slashes behind it") {
  const TemporaryDirectory directory;
  fs::create_directory(directory.path() / "there");
  fs::create_symlink("there", directory.path() / "link");
  const std::string nar =
      nar_words("nix-archive-1", "(", "type", "symlink", "target", "there", ")");
  CHECK(dump(directory.path() / "link") == nar);
  CHECK(dump(directory.path().string() + "/link//") == nar);
}

TEST_CASE("what is not there, or may not be read, is a system's error naming the path") {
  const TemporaryDirectory directory;
  const fs::path absent = directory.path() / "absent";
  CHECK_THROWS_AS(dump(absent), SystemError);
  CHECK_THROWS_AS(list_nar_of(absent), SystemError);
  CHECK(thrown_by([&] { dump(absent); }).find(absent.string()) != std::string::npos);
  CHECK_THROWS_AS(dump(""), SystemError);
}

TEST_CASE("what a NAR cannot hold is refused, and never waited for") {
  const TemporaryDirectory directory;
  const fs::path fifo = directory.path() / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  for (const fs::path& path : {fifo, directory.path()}) {
    CHECK(thrown_by([&] { dump(path); }).find(fifo.string()) != std::string::npos);
    CHECK(thrown_by([&] { list_nar_of(path); }).find(fifo.string()) != std::string::npos);
  }
  fs::remove(fifo);
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (directory.path() / "socket").c_str(),
               sizeof address.sun_path - 1);
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  CHECK_THROWS_AS(dump(directory.path()), Error);
}

TEST_CASE("a file that changes its size while it is read is an error") {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "file";
  // The first piece arrives after the file's size has been written.
  for (const std::size_t new_size : {std::size_t{300'000}, std::size_t{2'000'000}}) {
    write(file, std::string(1'000'000, 'x'));
    bool changed = false;
    const std::string message = thrown_by([&] {
      dump_nar(file, [&](std::string_view) {
        if (changed) return;
        changed = true;
        fs::resize_file(file, new_size);
      });
    });
    CAPTURE(new_size);
    CHECK(message.find("changed while it was read") != std::string::npos);
  }
}

TEST_CASE("a tree as deep as a NAR may be is dumped, a deeper one is refused") {
  // It takes a descriptor for each directory.
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlimit before = limit;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, nar_depth_limit + 100);
  ::setrlimit(RLIMIT_NOFILE, &limit);

  // Created one directory at a time: the whole path would be too long for the system.
  const TemporaryDirectory directory;
  UniqueFd at(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY));
  const auto deepen = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      REQUIRE(::mkdirat(at.get(), "d", 0755) == 0);
      at = UniqueFd(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY));
      REQUIRE(at);
    }
  };
  deepen(500);
  const std::string nar = dump(directory.path());
  CHECK(listing_of(nar) == list_nar_of(directory.path()));
  CHECK(listing_of(nar, 3) == listing_of(nar));
  if (limit.rlim_cur < nar_depth_limit + 100) {
    nixbuild::test::skip("too few file descriptors for the deepest tree");
  } else {
    deepen(nar_depth_limit - 1 - 500);
    CHECK(listing_of(dump(directory.path())) == list_nar_of(directory.path()));
    deepen(1);
    const std::string message = thrown_by([&] { dump(directory.path()); });
    CHECK(message.find("directories deep") != std::string::npos);
  }
  at.reset();
  CHECK(std::system(("rm -rf '" + directory.path().string() + "'").c_str()) == 0);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST_CASE("exceptions of the sink come through") {
  const TemporaryDirectory directory;
  write(directory.path() / "x", "x");
  CHECK_THROWS_AS(dump_nar(directory.path(), [](std::string_view) { throw std::string("full"); }),
                  std::string);
}
