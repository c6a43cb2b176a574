// Histories of earlier releases.
#include "server/history/schema.hpp"

#include <doctest/doctest.h>

#include "../support/temporary_directory.hpp"
#include "common/base/time.hpp"
#include "server/history/history.hpp"

using namespace nixbuild;
using namespace nixbuild::history;
using protocol::BuildState;

namespace {

// The schema of release 0.1.
constexpr const char* version_1 = R"(
PRAGMA journal_mode = WAL;
CREATE TABLE builds (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  repository TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'success', 'failed')),
  triggered_by TEXT NOT NULL,
  triggered_from TEXT NOT NULL,
  queued_at INTEGER NOT NULL,
  start INTEGER,
  finish INTEGER,
  commit_id TEXT,
  commit_subject TEXT NOT NULL DEFAULT '',
  commit_author TEXT NOT NULL DEFAULT '',
  error TEXT,
  flake_lock TEXT
);
CREATE UNIQUE INDEX active ON builds (repository) WHERE state IN ('queued', 'running');
CREATE INDEX builds_by_repository ON builds (repository, id);
CREATE TABLE phases (
  build INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  position INTEGER NOT NULL, name TEXT NOT NULL, start INTEGER NOT NULL, finish INTEGER,
  PRIMARY KEY (build, position)) WITHOUT ROWID;
CREATE TABLE targets (
  build INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  position INTEGER NOT NULL, name TEXT NOT NULL, result TEXT NOT NULL, derivation TEXT NOT NULL,
  error TEXT NOT NULL, log_tail TEXT NOT NULL,
  PRIMARY KEY (build, position)) WITHOUT ROWID;
CREATE TABLE outputs (
  build INTEGER NOT NULL, target INTEGER NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL,
  path TEXT NOT NULL, nar_size INTEGER NOT NULL,
  PRIMARY KEY (build, target, position),
  FOREIGN KEY (build, target) REFERENCES targets (build, position) ON DELETE CASCADE) WITHOUT ROWID;
CREATE TABLE derivations (
  build INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  position INTEGER NOT NULL, derivation TEXT NOT NULL, name TEXT NOT NULL, start INTEGER NOT NULL,
  milliseconds INTEGER NOT NULL, failed INTEGER NOT NULL,
  PRIMARY KEY (build, position)) WITHOUT ROWID;
PRAGMA user_version = 1;

INSERT INTO builds VALUES
  (1, 'a', 'success', 'ann', '100.64.0.2', 1600000000, 1600000001, 1600000009,
   'cccccccccccccccccccccccccccccccccccccccc', 'Subject', 'Ann', NULL, '{"nodes": {}}'),
  (2, 'a', 'failed', '', '', 1600000010, 1600000011, 1600000019, NULL, '', '', 'cancelled', NULL),
  (3, 'a', 'failed', '', '', 1600000020, 1600000021, 1600000029, NULL, '', '', 'it broke', NULL),
  (7, 'a', 'running', '', '', 1600000030, 1600000031, NULL, NULL, '', '', NULL, NULL),
  (8, 'b', 'success', '', '', 1600000040, 1600000041, 1600000049, NULL, '', '', NULL, NULL);
DELETE FROM builds WHERE id = 8;
INSERT INTO phases VALUES (1, 0, 'fetch', 1600000001, 1600000002);
INSERT INTO targets VALUES (1, 0, 't', 'success', '/nix/store/t.drv', '', '');
INSERT INTO outputs VALUES (1, 0, 0, 'out', '/nix/store/t', 12);
INSERT INTO derivations VALUES (1, 0, '/nix/store/t.drv', 't', 1600000003, 5, 0);
)";

struct OldHistory {
  OldHistory() {
    sqlite3* handle = nullptr;
    REQUIRE(sqlite3_open(file.c_str(), &handle) == SQLITE_OK);
    REQUIRE(sqlite3_exec(handle, version_1, nullptr, nullptr, nullptr) == SQLITE_OK);
    sqlite3_close(handle);
  }
  test::TemporaryDirectory directory;
  std::filesystem::path file = directory.path() / "h";
};

}  // namespace

TEST_CASE("a history of the first version is brought up to date with all that is in it") {
  const OldHistory old;
  History history(old.file);
  const auto build = history.get(1);
  REQUIRE(build);
  CHECK(build->state == BuildState::success);
  CHECK(build->triggered_by == "ann");
  CHECK(build->commit_subject == "Subject");
  CHECK(build->has_lock);
  CHECK_FALSE(build->branch);
  CHECK(build->phases.size() == 1);
  REQUIRE(build->targets.size() == 1);
  CHECK(build->targets[0].outputs.at(0).nar_size == 12);
  CHECK(build->derivations.size() == 1);
  CHECK(history.get(2)->state == BuildState::cancelled);
  CHECK(history.get(3)->state == BuildState::failed);
  CHECK(history.get(7)->state == BuildState::running);
  CHECK(history.list({}, 10, {}).builds.size() == 4);
  CHECK(history.id().size() == 32);
  CHECK(History(old.file).id() == history.id());
  // The number of a removed build is not reused.
  CHECK(history.insert_queued({"b", "", ""}).id == 9);
  // Removing a build removes everything that belongs to it.
  CHECK(history.prune("a", 1) == std::vector<std::int64_t>{});
  auto database = sqlite::Connection::open(old.file, sqlite::Connection::Mode::read_write);
  CHECK(database.prepare("PRAGMA foreign_key_check").step() == false);
  database.execute("PRAGMA foreign_keys = ON");
  database.execute("DELETE FROM builds WHERE id = 1");
  CHECK(database.query_integer("SELECT count(*) FROM outputs") == 0);
}

TEST_CASE("a run-build of the earlier release finishes under a history that was migrated") {
  const OldHistory old;
  auto earlier = sqlite::Connection::open(old.file, sqlite::Connection::Mode::read_write);
  earlier.execute("PRAGMA foreign_keys = ON");
  CHECK(earlier.query_integer("SELECT count(*) FROM builds WHERE state = 'running'") == 1);
  History history(old.file);

  // The statements of release 0.1, verbatim.
  const auto run = [&](const char* sql) {
    sqlite::Transaction transaction(earlier);
    earlier.execute(sql);
    transaction.commit();
  };
  run("UPDATE builds SET commit_id = 'c', commit_subject = 's', commit_author = 'a' WHERE id = 7");
  run("INSERT INTO phases (build, position, name, start) "
      "SELECT 7, (SELECT count(*) FROM phases WHERE build = 7), 'build', 1600000032");
  run("DELETE FROM targets WHERE build = 7;"
      "INSERT INTO targets (build, position, name, result, derivation, error, log_tail) "
      "VALUES (7, 0, 't', 'success', '', '', '');"
      "INSERT INTO outputs (build, target, position, name, path, nar_size) "
      "VALUES (7, 0, 0, 'out', '/nix/store/t', 3)");
  run("INSERT INTO derivations (build, position, derivation, name, start, milliseconds, failed) "
      "VALUES (7, 0, '/nix/store/t.drv', 't', 1600000033, 4, 0)");
  SUBCASE("to the end") {
    run("UPDATE builds SET state = 'success', error = NULL, "
        "finish = max(1600000039, coalesce(start, queued_at)) "
        "WHERE id = 7 AND state IN ('queued', 'running')");
    CHECK(history.get(7)->state == BuildState::success);
    CHECK(history.output_paths(7) == std::vector<std::string>{"/nix/store/t"});
  }
  SUBCASE("or until it is cancelled") {
    run("UPDATE builds SET state = 'failed', error = 'cancelled', "
        "finish = max(1600000039, coalesce(start, queued_at)) "
        "WHERE id = 7 AND state IN ('queued', 'running')");
    CHECK(history.get(7)->state == BuildState::cancelled);
  }
  run("INSERT INTO builds (repository, state, triggered_by, triggered_from, queued_at) "
      "VALUES ('a', 'queued', '', '', 1600000050)");
  CHECK(history.current("a")->state == BuildState::queued);
}
