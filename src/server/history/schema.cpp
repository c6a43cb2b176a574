#include "server/history/schema.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "server/history/history.hpp"

// A running `nixbuild run-build` of an earlier release keeps its connection while a newer program
// migrates the database, and must still be able to finish. So tables and columns of version 1 keep
// their names and meaning, and new columns have defaults.

namespace nixbuild::history {
namespace {

constexpr int current_version = 2;

// `one_queued` and `one_running` enforce the queue's guarantee: at most one queued and one running
// build of a branch, however many clients ask at once.
constexpr const char* builds_table = R"(
CREATE TABLE builds (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  repository TEXT NOT NULL,
  state TEXT NOT NULL
    CHECK (state IN ('queued', 'running', 'success', 'failed', 'cancelled')),
  triggered_by TEXT NOT NULL,
  triggered_from TEXT NOT NULL,
  queued_at INTEGER NOT NULL,
  start INTEGER,
  finish INTEGER,
  commit_id TEXT,
  commit_subject TEXT NOT NULL DEFAULT '',
  commit_author TEXT NOT NULL DEFAULT '',
  error TEXT,
  flake_lock TEXT,
  branch TEXT NOT NULL DEFAULT '',
  url TEXT NOT NULL DEFAULT ''
);
)";

constexpr const char* builds_indexes = R"(
CREATE UNIQUE INDEX one_queued ON builds (repository, branch) WHERE state = 'queued';
CREATE UNIQUE INDEX one_running ON builds (repository, branch) WHERE state = 'running';
CREATE INDEX builds_by_repository ON builds (repository, id);
)";

constexpr const char* other_tables = R"(
CREATE TABLE phases (
  build INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  start INTEGER NOT NULL,
  finish INTEGER,
  PRIMARY KEY (build, position)
) WITHOUT ROWID;

CREATE TABLE targets (
  build INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  result TEXT NOT NULL,
  derivation TEXT NOT NULL,
  error TEXT NOT NULL,
  log_tail TEXT NOT NULL,
  PRIMARY KEY (build, position)
) WITHOUT ROWID;

CREATE TABLE outputs (
  build INTEGER NOT NULL,
  target INTEGER NOT NULL,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  path TEXT NOT NULL,
  nar_size INTEGER NOT NULL,
  PRIMARY KEY (build, target, position),
  FOREIGN KEY (build, target) REFERENCES targets (build, position) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE derivations (
  build INTEGER NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  derivation TEXT NOT NULL,
  name TEXT NOT NULL,
  start INTEGER NOT NULL,
  milliseconds INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  PRIMARY KEY (build, position)
) WITHOUT ROWID;
)";

// Not part of the version: no program depends on it.
constexpr const char* targets_index =
    "CREATE INDEX IF NOT EXISTS targets_by_name ON targets (name, build)";

// The id distinguishes this history from one created later, whose builds have the same numbers.
constexpr const char* meta_table = R"(
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('history_id', lower(hex(randomblob(16))));
)";

// SQLite cannot alter a CHECK, so create the table again. Before, a cancelled build was
// recognisable only by its error.
constexpr const char* copy_builds = R"(
INSERT INTO builds
  SELECT id, repository,
    CASE WHEN state = 'failed' AND error = 'cancelled' THEN 'cancelled' ELSE state END,
    triggered_by, triggered_from, queued_at, start, finish, commit_id, commit_subject,
    commit_author, error, flake_lock, '', ''
  FROM builds_1;
DROP TABLE builds_1;
)";

// SQLite gives its journals the same mode as the database; the group must be able to write to all
// three.
void make_file(const std::filesystem::path& file) {
  const UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0660));
  if (!fd) {
    if (errno == EEXIST) return;
    throw HistoryError(SystemError(errno, fmt::format("making {}", file.string())).what());
  }
  if (::fchmod(fd.get(), 0660) != 0) {
    throw HistoryError(
        SystemError(errno, fmt::format("setting the mode of {}", file.string())).what());
  }
}

std::int64_t version_of(sqlite::Connection& database) {
  return database.query_integer("PRAGMA user_version");
}

[[noreturn]] void refuse_version(const std::filesystem::path& file, std::int64_t found) {
  throw HistoryError(
      fmt::format("{}: unsupported version {} (this program supports up to {}); use a newer "
                  "nixbuild, or move the file away to start a new history",
                  file.string(), found, current_version));
}

[[noreturn]] void refuse_damage(const sqlite::SqliteError& error) {
  throw HistoryError(fmt::format("{}; move the file away to start a new history", error.what()));
}

bool is_damage(const sqlite::SqliteError& error) {
  return error.primary_code() == SQLITE_CORRUPT || error.primary_code() == SQLITE_NOTADB;
}

void migrate_builds(sqlite::Connection& database) {
  // Build numbers are never reused, not even those of removed builds.
  const std::int64_t last =
      database.query_integer("SELECT seq FROM sqlite_sequence WHERE name = 'builds'");
  // Makes the other tables keep their references to the name `builds`, and so to the new table.
  database.execute("PRAGMA legacy_alter_table = ON");
  database.execute("ALTER TABLE builds RENAME TO builds_1");
  database.execute(builds_table);
  database.execute(copy_builds);
  database.execute(builds_indexes);
  database.execute("DELETE FROM sqlite_sequence WHERE name IN ('builds', 'builds_1')");
  database.execute(fmt::format("INSERT INTO sqlite_sequence VALUES ('builds', {})", last));
  database.execute("PRAGMA legacy_alter_table = OFF");
}

void bring_up_to_date(sqlite::Connection& database, const std::filesystem::path& file) {
  sqlite::Transaction transaction(database);
  // Another process may have migrated it meanwhile.
  const std::int64_t found = version_of(database);
  if (found == current_version) return;
  if (found < 0 || found > current_version) refuse_version(file, found);
  if (found == 0) {
    database.execute(builds_table);
    database.execute(builds_indexes);
    database.execute(other_tables);
  } else {
    migrate_builds(database);
  }
  database.execute(meta_table);
  database.execute(fmt::format("PRAGMA user_version = {}", current_version));
  transaction.commit();
}

}  // namespace

sqlite::Connection open_history(const std::filesystem::path& file) {
  make_file(file);
  try {
    auto database = sqlite::Connection::open(file, sqlite::Connection::Mode::read_write);
    // With WAL, a reader never waits for a writer.
    database.execute("PRAGMA journal_mode = WAL");
    database.execute("PRAGMA synchronous = NORMAL");
    // Off while replacing a table: dropping the old one would delete the rows that refer to it.
    database.execute("PRAGMA foreign_keys = OFF");
    if (version_of(database) != current_version) bring_up_to_date(database, file);
    database.execute(targets_index);
    database.execute("PRAGMA foreign_keys = ON");
    return database;
  } catch (const sqlite::SqliteError& error) {
    if (!is_damage(error)) throw;
    refuse_damage(error);
  }
}

sqlite::Connection open_history_to_read(const std::filesystem::path& file) {
  try {
    auto database = sqlite::Connection::open(file, sqlite::Connection::Mode::read_only);
    // The builds' user can write to the file, so its schema must not run our functions.
    database.execute("PRAGMA trusted_schema = OFF");
    database.execute("PRAGMA busy_timeout = 5000");
    const std::int64_t found = version_of(database);
    if (found < 0 || found > current_version) refuse_version(file, found);
    if (found != current_version) {
      throw HistoryError(fmt::format("{}: version {}, which serve-api migrates when it starts",
                                     file.string(), found));
    }
    return database;
  } catch (const sqlite::SqliteError& error) {
    if (!is_damage(error)) throw;
    refuse_damage(error);
  }
}

}  // namespace nixbuild::history
