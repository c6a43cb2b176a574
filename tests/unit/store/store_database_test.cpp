#include "server/store/store_database.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "test_support.hpp"

using namespace nixbuild;
using namespace nixbuild::store;
using namespace nixbuild::store::test;

namespace {

nix::StorePath path_of(const std::string& hash_part, const std::string& name = "x") {
  return *nix::StorePath::parse(hash_part + "-" + name);
}

nix::Sha256 hash_of(char digit) {
  return *nix::Sha256::parse(std::string(64, digit));
}

// The error of the next query.
std::string reason(StoreDatabase& database) {
  try {
    database.query_path_info(hash_part_of(1));
  } catch (const StoreUnavailable& error) {
    return error.what();
  }
  return "available";
}

constexpr auto longer_than_check = std::chrono::milliseconds(130);

}  // namespace

TEST_CASE("a row is found by its hash part, whole") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  const std::string a = hash_part_of(1000);
  const std::string b = hash_part_of(2000);
  const auto a_id = written.add(a, 'a');
  const auto b_id = written.add(b, 'b', "y-1.0");
  const auto id = std::to_string(b_id);
  written.execute(
      "update ValidPaths set sigs = 'k1:AAAA k2:BBBB', ca = 'fixed:r:sha256:xyz', "
      "deriver = '/nix/store/" +
      hash_part_of(5) + "-y.drv', narSize = 5000000000 where id = " + id);
  written.execute("insert into Refs values (" + id + "," + id + "), (" + id + "," +
                  std::to_string(a_id) + ")");
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));

  const auto info = database.query_path_info(b);
  REQUIRE(info);
  CHECK(info->path == path_of(b, "y-1.0"));
  CHECK(info->nar_hash == hash_of('b'));
  CHECK(info->nar_size == 5'000'000'000);
  CHECK(info->references == std::vector{path_of(a), path_of(b, "y-1.0")});
  CHECK(info->deriver == path_of(hash_part_of(5), "y.drv"));
  CHECK(info->signatures == std::vector<std::string>{"k1:AAAA", "k2:BBBB"});
  CHECK(info->content_address == "fixed:r:sha256:xyz");

  const auto plain = database.query_path_info(a);
  REQUIRE(plain);
  CHECK_FALSE(plain->deriver);
  CHECK(plain->signatures.empty());
  CHECK(plain->content_address.empty());
  CHECK(plain->references.empty());
}

TEST_CASE("neighbours, non-hashes and the ends of the table are absent") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  CHECK_FALSE(database.query_path_info(hash_part_of(1)));
  written.add(hash_part_of(1000));
  for (const std::uint64_t number : {0U, 999U, 1001U}) {
    CHECK_FALSE(database.query_path_info(hash_part_of(number)));
  }
  for (const std::string& text :
       {std::string(), std::string("short"), std::string(32, '/'), hash_part_of(1000) + "-x"}) {
    CHECK_FALSE(database.query_path_info(text));
  }
  CHECK(database.query_path_info(hash_part_of(1000)));
}

TEST_CASE("rows that Nix would not write are taken for none, and harm nothing else") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  written.add(hash_part_of(1));
  written.execute(
      "insert into ValidPaths (path, hash, registrationTime, narSize) values ('/nix/store/" +
      hash_part_of(2) + "-bad/name', 'sha256:" + std::string(64, '0') + "', 1, 120)");
  written.execute(
      "insert into ValidPaths (path, hash, registrationTime, narSize) values ('/nix/store/" +
      hash_part_of(3) + "-x', 'md5:00', 1, 120)");
  written.execute("insert into ValidPaths (path, hash, registrationTime) values ('/nix/store/" +
                  hash_part_of(4) + "-x', 'sha256:" + std::string(64, '0') + "', 1)");
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  CHECK_FALSE(database.query_path_info(hash_part_of(2)));
  CHECK_FALSE(database.query_path_info(hash_part_of(3)));
  CHECK_FALSE(database.query_path_info(hash_part_of(4)));
  CHECK(database.query_path_info(hash_part_of(1)));
}

TEST_CASE("closures") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  std::vector<std::int64_t> ids;
  for (std::uint64_t i = 0; i < 5; ++i)
    ids.push_back(written.add(hash_part_of(100 + i)));
  const auto refer = [&](std::size_t from, std::size_t to) {
    written.execute("insert into Refs values (" + std::to_string(ids[from]) + "," +
                    std::to_string(ids[to]) + ")");
  };
  refer(0, 0);
  refer(0, 1);
  refer(1, 2);
  refer(2, 0);
  refer(3, 0);
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  const auto path = [](std::uint64_t number) { return path_of(hash_part_of(100 + number)); };
  CHECK(database.query_closure(path(0)) == std::vector{path(0), path(1), path(2)});
  CHECK(database.query_closure(path(3)) == std::vector{path(0), path(1), path(2), path(3)});
  CHECK(database.query_closure(path(4)) == std::vector{path(4)});
  CHECK(database.query_closure(path(9)).empty());
}

TEST_CASE("the generation moves with each commit, for all threads' objects alike") {
  const TemporaryDirectory directory;
  std::string journal_mode;
  SUBCASE("WAL") {
    journal_mode = "wal";
  }
  SUBCASE("delete") {
    journal_mode = "delete";
  }
  SUBCASE("truncate") {
    journal_mode = "truncate";
  }
  WrittenDatabase written(directory.path(), journal_mode);
  const auto access = std::make_shared<StoreAccess>(written.layout());
  StoreDatabase one(access);
  StoreDatabase two(access);
  auto last = one.generation();
  CHECK(two.generation() == last);
  CHECK(one.generation() == last);
  for (std::uint64_t i = 0; i < 100; ++i) {
    written.add(hash_part_of(i));
    const auto now = two.generation();
    CHECK(now != last);
    CHECK(one.generation() == now);
    CHECK(one.query_path_info(hash_part_of(i)));
    CHECK(one.generation() == now);
    last = now;
  }
  written.execute("delete from ValidPaths");
  CHECK(one.generation() != last);
  CHECK_FALSE(two.query_path_info(hash_part_of(1)));
  if (journal_mode == "wal") {
    // The log is rewritten from its beginning: same file, same sizes.
    last = one.generation();
    written.execute("pragma wal_checkpoint(restart)");
    written.add(hash_part_of(1));
    CHECK(one.generation() != last);
    CHECK(two.query_path_info(hash_part_of(1)));
  }
}

TEST_CASE("a locked database is unavailable at once, and available after") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path(), "delete");
  written.add(hash_part_of(1));
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  SUBCASE("locked before it was opened") {}
  SUBCASE("locked while it is open") {
    CHECK(database.query_path_info(hash_part_of(1)));
  }
  written.execute("begin exclusive");
  CHECK(reason(database).find("locked") != std::string::npos);
  CHECK_THROWS_AS(database.generation(), StoreUnavailable);
  written.execute("rollback");
  CHECK(reason(database) == "available");
  CHECK(database.query_path_info(hash_part_of(1)));
}

TEST_CASE("where Nix locks with a directory, that lock counts too") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path(), "truncate");
  written.add(hash_part_of(1));
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  CHECK(database.query_path_info(hash_part_of(1)));
  const fs::path lock = written.file().string() + ".lock";
  fs::create_directory(lock);
  CHECK_THROWS_AS(database.query_path_info(hash_part_of(1)), StoreUnavailable);
  CHECK_THROWS_AS(database.generation(), StoreUnavailable);
  fs::remove(lock);
  CHECK(database.query_path_info(hash_part_of(1)));
}

TEST_CASE("an absent database is unavailable until Nix makes it") {
  const TemporaryDirectory directory;
  StoreLayout layout;
  layout.nix_state_dir = directory.path() / "var";
  StoreDatabase database(std::make_shared<StoreAccess>(layout));
  CHECK(reason(database).find("no such file") != std::string::npos);
  fs::create_directories(layout.nix_state_dir / "db");
  CHECK(reason(database).find("no such file") != std::string::npos);
  WrittenDatabase written(directory.path());
  written.add(hash_part_of(1));
  CHECK(reason(database) == "available");
  CHECK(database.query_path_info(hash_part_of(1)));
}

TEST_CASE("a file that is no database is unavailable until it is one") {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "var" / "db" / "db.sqlite";
  fs::create_directories(file.parent_path());
  SUBCASE("garbage") {
    write_text(file, std::string(10'000, 'x'));
  }
  SUBCASE("empty") {
    write_text(file, "");
  }
  SUBCASE("a directory") {
    fs::create_directory(file);
  }
  SUBCASE("half a header") {
    write_text(file, "SQLite format 3");
  }
  StoreLayout layout;
  layout.nix_state_dir = directory.path() / "var";
  StoreDatabase database(std::make_shared<StoreAccess>(layout));
  CHECK(reason(database) != "available");
  CHECK(reason(database).find(file.string()) != std::string::npos);
  fs::remove_all(file);
  WrittenDatabase written(directory.path());
  CHECK(reason(database) == "available");
}

TEST_CASE("an unknown schema is unavailable, and noticed while the database is open") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  const fs::path schema = written.file().parent_path() / "schema";
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  CHECK(reason(database) == "available");
  for (const char* text : {"11", "99999999999999", "6", "ten", ""}) {
    CAPTURE(text);
    write_text(schema, text);
    std::this_thread::sleep_for(longer_than_check);
    CHECK(reason(database).find("schema") != std::string::npos);
    CHECK_THROWS_AS(database.generation(), StoreUnavailable);
  }
  write_text(schema, "10\n");
  CHECK(reason(database) == "available");
}

TEST_CASE("older schemas lack columns; other tables of that name are refused") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  written.add(hash_part_of(1));
  SUBCASE("schema 7") {
    written.execute("alter table ValidPaths drop column ca");
    written.execute("alter table ValidPaths drop column sigs");
    write_text(written.file().parent_path() / "schema", "7");
    StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
    const auto info = database.query_path_info(hash_part_of(1));
    REQUIRE(info);
    CHECK(info->signatures.empty());
    CHECK(info->content_address.empty());
  }
  SUBCASE("something else") {
    written.execute("alter table ValidPaths rename column hash to checksum");
    StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
    CHECK(reason(database).find("ValidPaths") != std::string::npos);
  }
}

TEST_CASE("a replaced database is noticed") {
  const TemporaryDirectory directory;
  WrittenDatabase written(directory.path());
  written.add(hash_part_of(1));
  StoreDatabase database(std::make_shared<StoreAccess>(written.layout()));
  CHECK(database.query_path_info(hash_part_of(1)));
  const auto before = database.generation();
  written.close();
  SUBCASE("by another file") {
    const TemporaryDirectory elsewhere;
    WrittenDatabase other(elsewhere.path());
    other.add(hash_part_of(2));
    other.execute("pragma wal_checkpoint(truncate)");
    other.close();
    fs::remove(written.file().string() + "-wal");
    fs::remove(written.file().string() + "-shm");
    fs::rename(other.file(), written.file());
  }
  SUBCASE("deleted and made anew") {
    fs::remove_all(written.file().parent_path());
    std::this_thread::sleep_for(longer_than_check);
    CHECK(reason(database).find("no such file") != std::string::npos);
    CHECK_THROWS_AS(database.generation(), StoreUnavailable);
    WrittenDatabase other(directory.path());
    other.add(hash_part_of(2));
  }
  std::this_thread::sleep_for(longer_than_check);
  CHECK(database.generation() != before);
  CHECK_FALSE(database.query_path_info(hash_part_of(1)));
  CHECK(database.query_path_info(hash_part_of(2)));
}
