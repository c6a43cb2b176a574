#include "server/history/database.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "server/history/history.hpp"

namespace nixbuild::history {
namespace {

constexpr int schema_version = 1;
constexpr int busy_timeout_ms = 5000;

// `active` holds what the queue promises: a repository has one queued or running build at most.
constexpr const char* schema = R"(
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

[[noreturn]] void fail(sqlite3* database) {
  const char* file = sqlite3_db_filename(database, nullptr);
  std::string reason = sqlite3_errmsg(database);
  bool is_full = false;
  switch (sqlite3_errcode(database) & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      reason += "; move it away to begin a new history";
      break;
    case SQLITE_FULL:
      is_full = true;
      break;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      if (const int error = sqlite3_system_errno(database); error != 0) {
        is_full = error == ENOSPC || error == EDQUOT;
        reason += fmt::format(" ({})", std::generic_category().message(error));
      }
      break;
    default:
      break;
  }
  const std::string message = fmt::format("{}: {}", file == nullptr ? "history" : file, reason);
  if (is_full) throw HistoryFull(message);
  throw HistoryError(message);
}

// SQLite gives its journals the mode of the database; the group must be able to write all three.
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

}  // namespace

void Statement::Finalizer::operator()(sqlite3_stmt* handle) const noexcept {
  sqlite3_finalize(handle);
}

void Statement::check_bound(int result) {
  if (result != SQLITE_OK) fail(database_);
}

Statement& Statement::bind(std::int64_t value) {
  check_bound(sqlite3_bind_int64(handle_.get(), ++bound_, value));
  return *this;
}

Statement& Statement::bind(std::string_view text) {
  check_bound(sqlite3_bind_text64(handle_.get(), ++bound_, text.data(), text.size(),
                                  SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind(const std::optional<std::string>& text) {
  if (text) return bind(std::string_view(*text));
  check_bound(sqlite3_bind_null(handle_.get(), ++bound_));
  return *this;
}

Statement& Statement::bind(std::chrono::sys_seconds time) {
  return bind(static_cast<std::int64_t>(time.time_since_epoch().count()));
}

bool Statement::step() {
  switch (sqlite3_step(handle_.get())) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      fail(database_);
  }
}

void Statement::run() {
  while (step()) {
  }
}

void Statement::reset() {
  sqlite3_reset(handle_.get());
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(handle_.get(), column) == SQLITE_NULL;
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(handle_.get(), column);
}

std::string Statement::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(handle_.get(), column));
  if (data == nullptr) return {};
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column))};
}

std::optional<std::string> Statement::optional_text(int column) const {
  if (is_null(column)) return std::nullopt;
  return text(column);
}

std::chrono::sys_seconds Statement::time(int column) const {
  return std::chrono::sys_seconds(std::chrono::seconds(integer(column)));
}

std::optional<std::chrono::sys_seconds> Statement::optional_time(int column) const {
  if (is_null(column)) return std::nullopt;
  return time(column);
}

void Database::Closer::operator()(sqlite3* handle) const noexcept {
  sqlite3_close(handle);
}

Database::Database(const std::filesystem::path& file) : file_(file) {
  make_file(file);
  sqlite3* handle = nullptr;
  const int opened =
      sqlite3_open_v2(file.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  handle_.reset(handle);
  if (opened != SQLITE_OK) fail(handle);
  sqlite3_busy_timeout(handle, busy_timeout_ms);
  // A reader then never waits for a writer.
  execute("PRAGMA journal_mode = WAL");
  execute("PRAGMA synchronous = NORMAL");
  execute("PRAGMA foreign_keys = ON");
  set_up();
}

void Database::set_up() {
  const auto version = [this] {
    Statement statement = prepare("PRAGMA user_version");
    statement.step();
    return statement.integer(0);
  };
  if (version() == schema_version) return;
  Transaction transaction(*this);
  // Somebody else may have done it meanwhile.
  const std::int64_t found = version();
  if (found == schema_version) return;
  if (found != 0) {
    throw HistoryError(fmt::format(
        "{}: it is of version {}, this program knows version {}; move it away to begin a "
        "new history",
        file_.string(), found, schema_version));
  }
  execute(schema);
  execute(fmt::format("PRAGMA user_version = {}", schema_version).c_str());
  transaction.commit();
}

Statement Database::prepare(std::string_view sql) {
  sqlite3_stmt* handle = nullptr;
  if (sqlite3_prepare_v2(handle_.get(), sql.data(), static_cast<int>(sql.size()), &handle,
                         nullptr) != SQLITE_OK) {
    fail(handle_.get());
  }
  return {handle_.get(), handle};
}

void Database::execute(const char* sql) {
  if (sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
    fail(handle_.get());
  }
}

std::int64_t Database::last_id() const {
  return sqlite3_last_insert_rowid(handle_.get());
}

std::int64_t Database::changed_rows() const {
  return sqlite3_changes(handle_.get());
}

std::uint64_t Database::generation() {
  // data_version tells of the changes of others, total_changes of our own.
  if (!data_version_) data_version_ = prepare("PRAGMA data_version");
  data_version_->step();
  const auto version = static_cast<std::uint64_t>(data_version_->integer(0));
  data_version_->reset();
  return (version << 32) + static_cast<std::uint32_t>(sqlite3_total_changes(handle_.get()));
}

Transaction::Transaction(Database& database, Durability durability) : database_(database) {
  database_.execute(durability == Durability::durable ? "PRAGMA synchronous = FULL"
                                                      : "PRAGMA synchronous = NORMAL");
  database_.execute("BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
  if (!open_) return;
  try {
    database_.execute("ROLLBACK");
  } catch (const HistoryError&) {
    // SQLite has rolled back by itself, as it does when the disk is full.
  }
}

void Transaction::commit() {
  database_.execute("COMMIT");
  open_ = false;
}

}  // namespace nixbuild::history
