#include "server/narcache/nar_cache.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <string>
#include <vector>

#include "../support/skip.hpp"
#include "../support/small_filesystem.hpp"
#include "../support/temporary_directory.hpp"
#include "../support/unprivileged.hpp"
#include "common/base/error.hpp"
#include "common/base/files.hpp"

using namespace nixbuild;
using namespace nixbuild::narcache;
using test::TemporaryDirectory;
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t plenty = 1 << 30;

NarKey key_of(const std::string& name,
              compress::Compression compression = compress::Compression::zstd) {
  return {nix::sha256(name), {compression, 3, 10504}};
}

void add(NarCache& cache, const std::string& name, const std::string& content) {
  const auto writer = cache.create(key_of(name));
  writer->append(content);
  writer->commit(nix::sha256(content));
}

std::string content_of(const NarCache::OpenFile& file) {
  std::string content(file.info.size + 10, '\0');
  const ssize_t n = ::pread(file.file->get(), content.data(), content.size(), 0);
  REQUIRE(n >= 0);
  content.resize(static_cast<std::size_t>(n));
  return content;
}

std::vector<fs::path> files_in(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& item : fs::directory_iterator(directory))
    files.push_back(item.path());
  return files;
}

// The only file of the cache.
fs::path only_file(const fs::path& directory) {
  const auto files = files_in(directory);
  REQUIRE(files.size() == 1);
  return files.front();
}

void set_age(const fs::path& file, std::chrono::hours age) {
  fs::last_write_time(file, fs::file_time_type::clock::now() - age);
}

}  // namespace

TEST_CASE("what was committed is found, opened and trusted") {
  const TemporaryDirectory directory;
  NarCache cache(directory.path() / "nar-cache", plenty);
  CHECK_FALSE(cache.find(key_of("a")));
  CHECK(cache.open(key_of("a")).state == NarCache::State::absent);
  const auto generation = cache.generation();
  add(cache, "a", "compressed");
  CHECK(cache.generation() != generation);
  const auto found = cache.find(key_of("a"));
  REQUIRE(found);
  CHECK(found->size == 10);
  CHECK(found->hash == nix::sha256("compressed"));
  const auto opened = cache.open(key_of("a"));
  REQUIRE(opened.state == NarCache::State::trusted);
  CHECK(content_of(opened.file) == "compressed");
  CHECK_FALSE(cache.find(key_of("a", compress::Compression::xz)));
  const auto statistics = cache.statistics();
  CHECK(statistics.entries == 1);
  CHECK(statistics.bytes == 10);
  CHECK(statistics.hits == 1);
}

TEST_CASE("a file that is not committed leaves nothing behind") {
  const TemporaryDirectory directory;
  NarCache cache(directory.path(), plenty);
  {
    const auto writer = cache.create(key_of("a"));
    writer->append("half");
    CHECK(files_in(directory.path()).size() == 1);
  }
  CHECK(files_in(directory.path()).empty());
  CHECK_FALSE(cache.find(key_of("a")));
}

TEST_CASE("after a restart a file is found by its name and checked once") {
  const TemporaryDirectory directory;
  {
    NarCache cache(directory.path(), plenty);
    add(cache, "a", "compressed");
  }
  std::ofstream(directory.path() / "tmp-1-1") << "left over";
  std::ofstream(directory.path() / "README") << "not ours";
  NarCache cache(directory.path(), plenty);
  CHECK_FALSE(fs::exists(directory.path() / "tmp-1-1"));
  CHECK(fs::exists(directory.path() / "README"));
  REQUIRE(cache.find(key_of("a")));
  CHECK(cache.find(key_of("a"))->hash == nix::sha256("compressed"));
  CHECK(cache.open(key_of("a")).state == NarCache::State::unverified);
  cache.verify(key_of("a"));
  CHECK(cache.open(key_of("a")).state == NarCache::State::trusted);
}

TEST_CASE("a file that was not made here is found by any hash") {
  const TemporaryDirectory directory;
  const NarKey key{nix::sha256("name"), {}};
  const NarKey own{nix::sha256("content"), {}};
  {
    NarCache cache(directory.path(), plenty);
    auto writer = cache.create(key);
    writer->append("content");
    writer->commit(nix::sha256("content"), NarCache::Writer::Flush::no);
    CHECK(only_file(directory.path()).extension() == ".file");
    writer = cache.create(key);
    writer->append("content");
    writer->set_key(own);
    writer->commit(nix::sha256("content"));
  }
  NarCache cache(directory.path(), plenty);
  for (const NarKey& one : {key, own}) {
    CHECK(cache.open(one).state == NarCache::State::unverified);
    cache.verify(one);
    const auto opened = cache.open(one);
    REQUIRE(opened.state == NarCache::State::trusted);
    CHECK(content_of(opened.file) == "content");
  }
  CHECK_FALSE(cache.find({nix::sha256("name"), {compress::Compression::zstd, 3, 0}}));
}

TEST_CASE("a file damaged while the server was down is found out and removed") {
  const TemporaryDirectory directory;
  {
    NarCache cache(directory.path(), plenty);
    add(cache, "a", "compressed");
  }
  const fs::path file = only_file(directory.path());
  SUBCASE("same size") {
    std::ofstream(file, std::ios::in | std::ios::out) << "X";
    NarCache cache(directory.path(), plenty);
    REQUIRE(cache.open(key_of("a")).state == NarCache::State::unverified);
    cache.verify(key_of("a"));
    CHECK(cache.open(key_of("a")).state == NarCache::State::absent);
    CHECK(cache.statistics().rejected == 1);
  }
  SUBCASE("shorter") {
    fs::resize_file(file, 3);
    NarCache cache(directory.path(), plenty);
    CHECK(cache.open(key_of("a")).state == NarCache::State::absent);
  }
  CHECK(files_in(directory.path()).empty());
}

TEST_CASE("a file changed while the server runs is not trusted any more") {
  const TemporaryDirectory directory;
  NarCache cache(directory.path(), plenty);
  add(cache, "a", "compressed");
  const fs::path file = only_file(directory.path());
  SUBCASE("written to") {
    std::ofstream(file, std::ios::in | std::ios::out) << "X";
    CHECK(cache.open(key_of("a")).state == NarCache::State::unverified);
    cache.verify(key_of("a"));
    CHECK(cache.open(key_of("a")).state == NarCache::State::absent);
  }
  SUBCASE("truncated") {
    fs::resize_file(file, 3);
    CHECK(cache.open(key_of("a")).state == NarCache::State::unverified);
    cache.verify(key_of("a"));
    CHECK_FALSE(cache.find(key_of("a")));
  }
  SUBCASE("only touched: good again once checked") {
    set_age(file, std::chrono::hours(5));
    CHECK(cache.open(key_of("a")).state == NarCache::State::unverified);
    cache.verify(key_of("a"));
    CHECK(cache.open(key_of("a")).state == NarCache::State::trusted);
  }
  SUBCASE("gone") {
    fs::remove(file);
    const auto generation = cache.generation();
    CHECK(cache.open(key_of("a")).state == NarCache::State::absent);
    CHECK_FALSE(cache.find(key_of("a")));
    CHECK(cache.generation() != generation);
    CHECK(cache.statistics().bytes == 0);
  }
  SUBCASE("replaced by a symlink") {
    fs::rename(file, directory.path() / "elsewhere");
    fs::create_symlink(directory.path() / "elsewhere", file);
    CHECK(cache.open(key_of("a")).state == NarCache::State::absent);
  }
}

TEST_CASE("over the bound, the least recently used file goes; whoever has it open keeps it") {
  const TemporaryDirectory directory;
  NarCache cache(directory.path(), 100);
  add(cache, "a", std::string(40, 'a'));
  add(cache, "b", std::string(40, 'b'));
  const auto b = cache.open(key_of("b"));
  CHECK(cache.open(key_of("a")).state == NarCache::State::trusted);
  add(cache, "c", std::string(40, 'c'));
  CHECK(cache.find(key_of("a")));
  CHECK_FALSE(cache.find(key_of("b")));
  CHECK(cache.find(key_of("c")));
  CHECK(content_of(b.file) == std::string(40, 'b'));
  CHECK(files_in(directory.path()).size() == 2);
  CHECK(cache.statistics().evictions == 1);
  CHECK(cache.statistics().bytes == 80);
}

TEST_CASE("the order of use survives a restart, a smaller bound is kept to at once") {
  const TemporaryDirectory directory;
  {
    NarCache cache(directory.path(), plenty);
    add(cache, "a", std::string(40, 'a'));
    set_age(only_file(directory.path()), std::chrono::hours(50));
    add(cache, "b", std::string(40, 'b'));
    add(cache, "c", std::string(40, 'c'));
    for (const auto& file : files_in(directory.path())) {
      if (read_file(file) == std::string(40, 'b')) set_age(file, std::chrono::hours(90));
      if (read_file(file) == std::string(40, 'c')) set_age(file, std::chrono::hours(70));
    }
  }
  {
    // A use updates the file's own time.
    NarCache cache(directory.path(), plenty);
    cache.verify(key_of("b"));
    CHECK(cache.open(key_of("b")).state == NarCache::State::trusted);
    CHECK(cache.open(key_of("b")).state == NarCache::State::trusted);
  }
  NarCache cache(directory.path(), 100);
  CHECK(cache.find(key_of("a")));
  CHECK(cache.find(key_of("b")));
  CHECK_FALSE(cache.find(key_of("c")));
}

TEST_CASE("a file larger than the whole cache is refused, and pushes out nothing") {
  const TemporaryDirectory directory;
  NarCache cache(directory.path(), 100);
  add(cache, "a", std::string(40, 'a'));
  const auto writer = cache.create(key_of("b"));
  CHECK_THROWS_AS(writer->append(std::string(101, 'b')), NarTooLarge);
  CHECK(cache.find(key_of("a")));
}

TEST_CASE("what nobody asked for yet pushes out nothing that was used since") {
  const TemporaryDirectory directory;
  NarCache cache(directory.path(), 100);
  add(cache, "old", std::string(40, 'o'));
  const auto since = NarCache::Clock::now();
  add(cache, "new", std::string(40, 'n'));
  {
    const auto writer = cache.create(key_of("b"), since);
    writer->append(std::string(40, 'b'));
    CHECK_FALSE(cache.find(key_of("old")));
    CHECK_THROWS_AS(writer->append(std::string(40, 'b')), NarCacheError);
    CHECK(cache.find(key_of("new")));
  }
  CHECK(files_in(directory.path()).size() == 1);
}

TEST_CASE("an entry made anew replaces the old file") {
  const TemporaryDirectory directory;
  NarCache cache(directory.path(), plenty);
  add(cache, "a", "one");
  add(cache, "a", "another");
  CHECK(content_of(cache.open(key_of("a")).file) == "another");
  CHECK(files_in(directory.path()).size() == 1);
  CHECK(cache.statistics().bytes == 7);
  add(cache, "a", "another");
  CHECK(content_of(cache.open(key_of("a")).file) == "another");
  CHECK(files_in(directory.path()).size() == 1);
}

TEST_CASE("a directory removed while the server runs is made again") {
  const TemporaryDirectory directory;
  NarCache cache(directory.path() / "nar-cache", plenty);
  add(cache, "a", "one");
  const auto half = cache.create(key_of("b"));
  half->append("two");
  fs::remove_all(directory.path() / "nar-cache");
  CHECK(cache.open(key_of("a")).state == NarCache::State::absent);
  half->append("three");
  CHECK_THROWS_AS(half->commit(nix::sha256("twothree")), NarCacheError);
  add(cache, "c", "four");
  CHECK(cache.open(key_of("c")).state == NarCache::State::trusted);
}

TEST_CASE("a second process is kept out of the directory") {
  const TemporaryDirectory directory;
  NarCache cache(directory.path(), plenty);
  CHECK_THROWS_AS(NarCache(directory.path(), plenty), Error);
}

TEST_CASE("a directory that cannot be written costs the keeping, what is in it can be sent") {
  const TemporaryDirectory directory;
  fs::permissions(directory.path(), fs::perms(0755));
  const fs::path kept = directory.path() / "nar-cache";
  {
    NarCache cache(kept, plenty);
    add(cache, "a", "one");
  }
  fs::permissions(only_file(kept), fs::perms(0644));
  fs::permissions(kept, fs::perms(0555));
  fs::permissions(directory.path(), fs::perms(0555));
  {
    const test::Unprivileged unprivileged;
    NarCache cache(kept, plenty);
    cache.verify(key_of("a"));
    CHECK(cache.open(key_of("a")).state == NarCache::State::trusted);
    CHECK_THROWS_AS(cache.create(key_of("b")), NarCacheError);
    CHECK_THROWS_AS(NarCache(directory.path() / "other", plenty).create(key_of("b")),
                    NarCacheError);
  }
  fs::permissions(directory.path(), fs::perms(0755));
  fs::permissions(kept, fs::perms(0755));
}

TEST_CASE("nothing is kept where the bound is zero") {
  const TemporaryDirectory directory;
  NarCache cache(directory.path() / "nar-cache", 0);
  CHECK_THROWS_AS(cache.create(key_of("a")), NarCacheError);
  CHECK_FALSE(fs::exists(directory.path() / "nar-cache"));
}

TEST_CASE("on a full disk, files go for a new one, which fails when that is not enough") {
  const test::SmallFilesystem small("size=1m");
  if (!small.mounted()) {
    test::skip("no right to mount a file system");
    return;
  }
  NarCache cache(small.path() / "nar-cache", plenty);
  add(cache, "a", std::string(400'000, 'a'));
  add(cache, "b", std::string(400'000, 'b'));
  add(cache, "c", std::string(400'000, 'c'));
  CHECK_FALSE(cache.find(key_of("a")));
  CHECK(cache.find(key_of("b")));
  CHECK(cache.find(key_of("c")));
  {
    const auto writer = cache.create(key_of("d"));
    CHECK_THROWS_AS(for (int i = 0; i < 20; ++i) writer->append(std::string(100'000, 'd')),
                    NarCacheError);
  }
  add(cache, "e", std::string(400'000, 'e'));
  CHECK(content_of(cache.open(key_of("e")).file) == std::string(400'000, 'e'));
}

TEST_CASE("what another recipe made is another file, found where any will do") {
  const test::TemporaryDirectory directory;
  const NarKey older{nix::sha256("a"), {compress::Compression::zstd, 9, 10400}};
  const NarKey unknown{nix::sha256("b"), {compress::Compression::zstd, 0, 0}};
  const auto put = [](NarCache& cache, const NarKey& key, const std::string& content) {
    const auto writer = cache.create(key);
    writer->append(content);
    writer->commit(nix::sha256(content));
  };
  {
    NarCache cache(directory.path(), plenty);
    put(cache, older, "by the older one");
    put(cache, unknown, "by somebody");
    CHECK_FALSE(cache.find(key_of("a")));
    CHECK(cache.find_any(key_of("a"))->key.recipe == older.recipe);
    put(cache, key_of("a"), "by this one");
    CHECK(cache.find_any(key_of("a"))->key.recipe == key_of("a").recipe);
    CHECK(cache.find(older)->hash == nix::sha256("by the older one"));
    CHECK_FALSE(cache.find_any(key_of("a", compress::Compression::xz)));
  }
  const NarCache again(directory.path(), plenty);
  CHECK(again.find(older)->hash == nix::sha256("by the older one"));
  CHECK(again.find(key_of("a"))->hash == nix::sha256("by this one"));
  CHECK(again.find_any(key_of("b"))->key.recipe == unknown.recipe);
}
