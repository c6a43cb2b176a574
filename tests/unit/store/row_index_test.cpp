// Tests the index through StoreDatabase, as it is used.
#include "server/store/row_index.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "server/store/store_database.hpp"
#include "test_support.hpp"

using namespace nixbuild;
using namespace nixbuild::store;
using namespace nixbuild::store::test;

namespace {

nix::Sha256 nar_hash(char digit) {
  return *nix::Sha256::parse(std::string(64, digit));
}

std::optional<std::string> path_with(StoreDatabase& database, char digit) {
  const auto path = patiently([&] { return database.query_path_by_nar_hash(nar_hash(digit)); });
  if (!path) return std::nullopt;
  return path->base_name();
}

// Queries until the index answers for absent paths.
void make_index(StoreDatabase& database) {
  patiently([&] { return database.query_path_by_nar_hash(nar_hash('f')); });
}

}  // namespace

TEST_CASE("a path is found by the hash of its NAR") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  written.add(hash_part_of(1), '1', "one");
  written.add(hash_part_of(2), '2', "two");
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  CHECK(path_with(database, '1') == hash_part_of(1) + "-one");
  CHECK(path_with(database, '2') == hash_part_of(2) + "-two");
  CHECK(path_with(database, '3') == std::nullopt);
}

TEST_CASE("while the index is made, the caller is told to wait, and does not wait itself") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  written.add(hash_part_of(1), '1');
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  CHECK_THROWS_AS(database.query_path_by_nar_hash(nar_hash('1')), StoreUnavailable);
  CHECK(path_with(database, '1'));
}

TEST_CASE("rows that come later are found, rows that go are not") {
  const TemporaryDirectory directory;
  std::string journal_mode;
  SUBCASE("WAL") {
    journal_mode = "wal";
  }
  SUBCASE("truncate") {
    journal_mode = "truncate";
  }
  WrittenDatabase written(directory.path(), journal_mode);
  const auto access = std::make_shared<StoreAccess>(written.layout());
  StoreDatabase one(access);
  StoreDatabase two(access);
  make_index(one);
  for (std::uint64_t i = 0; i < 50; ++i) {
    const char digit = static_cast<char>('0' + i % 10);
    const std::string hash_part = hash_part_of(i * 7919);
    CHECK_FALSE(one.query_path_info(hash_part));
    CHECK_FALSE(two.query_path_by_nar_hash(nar_hash(digit)));
    const auto id = written.add(hash_part, digit);
    CHECK(one.query_path_info(hash_part));
    CHECK(two.query_path_info(hash_part));
    CHECK(two.query_path_by_nar_hash(nar_hash(digit)));
    CHECK(one.query_path_by_nar_hash(nar_hash(digit)));
    written.execute("delete from ValidPaths where id = " + std::to_string(id));
    CHECK_FALSE(two.query_path_info(hash_part));
    CHECK_FALSE(two.query_path_by_nar_hash(nar_hash(digit)));
    CHECK_FALSE(one.query_path_info(hash_part));
  }
}

TEST_CASE("of several paths with one NAR, any that is left is found") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  std::vector<std::int64_t> ids;
  for (std::uint64_t i = 0; i < 20; ++i)
    ids.push_back(written.add(hash_part_of(i), 'a'));
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  for (std::uint64_t i = 20; i < 30; ++i) {
    CHECK(path_with(database, 'a'));
    ids.push_back(written.add(hash_part_of(i), 'a'));
  }
  while (ids.size() > 1) {
    const std::size_t victim = ids.size() % 2 == 0 ? 0 : ids.size() - 1;
    written.execute("delete from ValidPaths where id = " + std::to_string(ids[victim]));
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(victim));
    const auto found = path_with(database, 'a');
    REQUIRE(found);
    CHECK(database.query_path_info(found->substr(0, 32)));
  }
  written.execute("delete from ValidPaths");
  CHECK(path_with(database, 'a') == std::nullopt);
}

TEST_CASE("a row whose hash was changed in place is found by its new hash only") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  written.add(hash_part_of(1), '1');
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  CHECK(path_with(database, '1'));
  written.execute("update ValidPaths set hash = 'sha256:" + std::string(64, '2') + "'");
  CHECK(path_with(database, '1') == std::nullopt);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(15);
  while (!path_with(database, '2') && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  CHECK(path_with(database, '2'));
}

TEST_CASE("absent paths are answered alike before, while and after the index is made") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  for (std::uint64_t i = 0; i < 1000; ++i)
    written.add(hash_part_of(i * i * 1'000'003));
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  for (int round = 0; round < 3; ++round) {
    for (std::uint64_t i = 0; i < 1000; ++i) {
      REQUIRE(database.query_path_info(hash_part_of(i * i * 1'000'003)));
      REQUIRE_FALSE(database.query_path_info(hash_part_of(i * i * 1'000'003 + 1)));
      // Equal in the part that the index compares.
      std::string near = hash_part_of(i * i * 1'000'003);
      near.back() = near.back() == 'z' ? 'y' : 'z';
      REQUIRE_FALSE(database.query_path_info(near));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

TEST_CASE("a database that was restored in place is read anew") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  written.add(hash_part_of(1), '1');
  written.execute("vacuum into '" + (directory.path() / "backup").string() + "'");
  for (std::uint64_t i = 2; i < 10; ++i)
    written.add(hash_part_of(i), '2');
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  make_index(database);
  CHECK_FALSE(database.query_path_info(hash_part_of(100)));
  // A backup with other rows under the same ids.
  sqlite3* other = nullptr;
  REQUIRE(sqlite3_open((directory.path() / "backup").c_str(), &other) == SQLITE_OK);
  REQUIRE(sqlite3_exec(other,
                       ("insert into ValidPaths (path, hash, registrationTime, narSize) values "
                        "('/nix/store/" +
                        hash_part_of(100) + "-x', 'sha256:" + std::string(64, '7') + "', 1, 120)")
                           .c_str(),
                       nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3* live = nullptr;
  REQUIRE(sqlite3_open(written.file().c_str(), &live) == SQLITE_OK);
  sqlite3_backup* backup = sqlite3_backup_init(live, "main", other, "main");
  REQUIRE(backup != nullptr);
  CHECK(sqlite3_backup_step(backup, -1) == SQLITE_DONE);
  sqlite3_backup_finish(backup);
  sqlite3_close(live);
  sqlite3_close(other);
  CHECK(database.query_path_info(hash_part_of(100)));
  CHECK_FALSE(database.query_path_info(hash_part_of(2)));
  CHECK(path_with(database, '7'));
  CHECK(path_with(database, '2') == std::nullopt);
}

TEST_CASE("threads share one index") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  for (std::uint64_t i = 0; i < 100; ++i)
    written.add(hash_part_of(i), '1');
  const auto access = std::make_shared<StoreAccess>(written.layout());
  std::vector<std::jthread> threads;
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      StoreDatabase database(access);
      while (!stop) {
        try {
          for (std::uint64_t i = 0; i < 100; ++i) {
            wrong += database.query_path_info(hash_part_of(i)) ? 0 : 1;
            wrong += database.query_path_info(hash_part_of(i + 5000)) ? 1 : 0;
          }
          wrong += database.query_path_by_nar_hash(nar_hash('1')) ? 0 : 1;
        } catch (const StoreUnavailable&) {
        }
      }
    });
  }
  for (std::uint64_t i = 100; i < 400; ++i)
    written.add(hash_part_of(i), '2');
  stop = true;
  threads.clear();
  CHECK(wrong == 0);
}
