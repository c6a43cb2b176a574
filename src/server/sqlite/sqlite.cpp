#include "server/sqlite/sqlite.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <mutex>
#include <system_error>

namespace nixbuild::sqlite {
namespace {

constexpr int busy_timeout = 5000;  // milliseconds
// Enough for the inner pages of the path index of a store with 10^6 paths.
constexpr const char* page_cache_limit = "PRAGMA cache_size = -8192";
// The size in which SQLite maps the -shm; its header is at the beginning of the first part.
constexpr int wal_index_part = 32768;

[[noreturn]] void fail(sqlite3* handle, int code) {
  std::string detail = handle == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(handle);
  bool is_full = (code & 0xff) == SQLITE_FULL;
  if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN) {
    const int error = handle == nullptr ? 0 : sqlite3_system_errno(handle);
    if (error != 0) {
      is_full = error == ENOSPC || error == EDQUOT;
      detail += fmt::format(" ({})", std::generic_category().message(error));
    }
  }
  const char* file = handle == nullptr ? nullptr : sqlite3_db_filename(handle, nullptr);
  const std::string message = file == nullptr ? detail : fmt::format("{}: {}", file, detail);
  if (is_full) throw DiskFull(code, message, std::move(detail));
  throw SqliteError(code, message, std::move(detail));
}

std::string immutable_uri(const std::filesystem::path& file) {
  std::string uri = "file:";
  for (const char c : file.native()) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '/' || c == '.' || c == '-' || c == '_';
    if (plain) {
      uri += c;
    } else {
      uri += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    }
  }
  return uri + "?immutable=1";
}

// Without memory statistics, SQLite takes no process-wide mutex for an allocation. Has no effect
// (and does no harm) if SQLite has already been used in this process.
void configure_once() {
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

}  // namespace

void Statement::check(int result) {
  if (result != SQLITE_OK) fail(sqlite3_db_handle(handle_.get()), result);
}

Statement& Statement::bind(std::int64_t value) {
  check(sqlite3_bind_int64(handle_.get(), ++bound_, value));
  return *this;
}

Statement& Statement::bind(std::string_view text) {
  check(sqlite3_bind_text64(handle_.get(), ++bound_, text.data(), text.size(), SQLITE_TRANSIENT,
                            SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind(const std::optional<std::string>& text) {
  if (text) return bind(std::string_view(*text));
  check(sqlite3_bind_null(handle_.get(), ++bound_));
  return *this;
}

Statement& Statement::bind(std::chrono::sys_seconds time) {
  return bind(static_cast<std::int64_t>(time.time_since_epoch().count()));
}

Statement& Statement::bind_view(std::string_view text) {
  check(sqlite3_bind_text64(handle_.get(), ++bound_, text.data(), text.size(), SQLITE_STATIC,
                            SQLITE_UTF8));
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  fail(sqlite3_db_handle(handle_.get()), code);
}

void Statement::run() {
  while (step()) {
  }
}

void Statement::reset() noexcept {
  sqlite3_reset(handle_.get());
  bound_ = 0;
}

bool Statement::is_null(int column) const noexcept {
  return sqlite3_column_type(handle_.get(), column) == SQLITE_NULL;
}

std::int64_t Statement::integer(int column) const noexcept {
  return sqlite3_column_int64(handle_.get(), column);
}

std::string_view Statement::view(int column) const noexcept {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(handle_.get(), column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column))};
}

std::optional<std::string> Statement::optional_text(int column) const {
  if (is_null(column)) return std::nullopt;
  return text(column);
}

std::chrono::sys_seconds Statement::time(int column) const noexcept {
  return std::chrono::sys_seconds(std::chrono::seconds(integer(column)));
}

std::optional<std::chrono::sys_seconds> Statement::optional_time(int column) const noexcept {
  if (is_null(column)) return std::nullopt;
  return time(column);
}

Connection Connection::open(const std::filesystem::path& file, Mode mode) {
  configure_once();
  sqlite3* handle = nullptr;
  const std::string name = mode == Mode::immutable ? immutable_uri(file) : file.native();
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  flags |= mode == Mode::read_write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
  if (mode == Mode::immutable) flags |= SQLITE_OPEN_URI;
  const int code = sqlite3_open_v2(name.c_str(), &handle, flags, nullptr);
  Connection connection;
  connection.handle_.reset(handle);  // is set even if opening failed
  if (code != SQLITE_OK) fail(handle, handle == nullptr ? code : sqlite3_extended_errcode(handle));
  sqlite3_extended_result_codes(handle, 1);  // versions before 3.37 ignore the flag
  if (mode == Mode::read_write) {
    sqlite3_busy_timeout(handle, busy_timeout);
  } else {
    connection.execute(page_cache_limit);
  }
  return connection;
}

Statement Connection::prepare(std::string_view sql) {
  sqlite3_stmt* handle = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
  if (code != SQLITE_OK) fail(handle_.get(), code);
  Statement statement;
  statement.handle_.reset(handle);
  return statement;
}

void Connection::execute(const char* sql) {
  const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(handle_.get(), code);
}

std::string Connection::query_text(std::string_view sql) {
  Statement statement = prepare(sql);
  return statement.step() ? statement.text(0) : std::string();
}

std::int64_t Connection::query_integer(std::string_view sql) {
  Statement statement = prepare(sql);
  return statement.step() ? statement.integer(0) : 0;
}

std::int64_t Connection::last_id() const noexcept {
  return sqlite3_last_insert_rowid(handle_.get());
}

std::int64_t Connection::changed_rows() const noexcept {
  return sqlite3_changes(handle_.get());
}

std::int64_t Connection::total_changes() const noexcept {
  return sqlite3_total_changes(handle_.get());
}

const std::uint64_t* Connection::wal_index_header() noexcept {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(handle_.get(), "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
      file == nullptr || file->pMethods == nullptr || file->pMethods->iVersion < 2 ||
      file->pMethods->xShmMap == nullptr) {
    return nullptr;
  }
  void volatile* mapped = nullptr;
  const int code = file->pMethods->xShmMap(file, 0, wal_index_part, 0, &mapped);
  if (code != SQLITE_OK && code != SQLITE_READONLY) return nullptr;
  return static_cast<const std::uint64_t*>(const_cast<void*>(mapped));
}

Transaction::Transaction(Connection& connection, Durability durability) : connection_(connection) {
  connection_.execute(durability == Durability::durable ? "PRAGMA synchronous = FULL"
                                                        : "PRAGMA synchronous = NORMAL");
  connection_.execute("BEGIN IMMEDIATE");
}

Transaction::~Transaction() {
  if (!open_) return;
  try {
    connection_.execute("ROLLBACK");
  } catch (const SqliteError&) {
    // SQLite has already rolled back, as it does if the disk is full.
  }
}

void Transaction::commit() {
  connection_.execute("COMMIT");
  open_ = false;
}

}  // namespace nixbuild::sqlite
