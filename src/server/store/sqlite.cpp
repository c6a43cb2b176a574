#include "server/store/sqlite.hpp"

#include <fmt/format.h>

#include <mutex>

namespace nixbuild::store {

namespace {

// Enough for the inner pages of the path index of a store with 10^6 paths.
constexpr std::string_view page_cache_limit = "pragma cache_size = -8192";
// What SQLite maps of the -shm at once; its header is at the beginning of the first such part.
constexpr int wal_index_part = 32768;

[[noreturn]] void fail(sqlite3* handle, int code) {
  const char* detail = handle == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(handle);
  throw SqliteFailure(code, detail);
}

std::string uri_of(const std::filesystem::path& file) {
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

// Without its memory statistics SQLite takes no process-wide mutex for an allocation. Has no effect
// (and does no harm) when another part of the process has used SQLite before.
void configure_once() {
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

}  // namespace

void SqliteStatement::bind(int position, std::int64_t value) {
  const int code = sqlite3_bind_int64(handle_.get(), position, value);
  if (code != SQLITE_OK) fail(sqlite3_db_handle(handle_.get()), code);
}

void SqliteStatement::bind(int position, std::string_view text) {
  const int code = sqlite3_bind_text64(handle_.get(), position, text.data(), text.size(),
                                       SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) fail(sqlite3_db_handle(handle_.get()), code);
}

bool SqliteStatement::step() {
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  fail(sqlite3_db_handle(handle_.get()), code);
}

std::string_view SqliteStatement::text(int column) {
  const auto* bytes = sqlite3_column_text(handle_.get(), column);
  const int size = sqlite3_column_bytes(handle_.get(), column);
  if (bytes == nullptr) return {};
  return {reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

SqliteConnection SqliteConnection::open_read_only(const std::filesystem::path& file,
                                                  bool immutable) {
  configure_once();
  sqlite3* handle = nullptr;
  const std::string name = immutable ? uri_of(file) : file.native();
  const int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | (immutable ? SQLITE_OPEN_URI : 0);
  const int code = sqlite3_open_v2(name.c_str(), &handle, flags, nullptr);
  SqliteConnection connection;
  connection.handle_.reset(handle);  // there is one even when opening failed
  if (code != SQLITE_OK) fail(handle, handle == nullptr ? code : sqlite3_extended_errcode(handle));
  sqlite3_extended_result_codes(handle, 1);
  connection.prepare(page_cache_limit).step();
  return connection;
}

SqliteStatement SqliteConnection::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) fail(handle_.get(), code);
  SqliteStatement result;
  result.handle_.reset(statement);
  return result;
}

std::string SqliteConnection::query_text(std::string_view sql) {
  SqliteStatement statement = prepare(sql);
  return statement.step() ? std::string(statement.text(0)) : std::string();
}

const std::uint64_t* SqliteConnection::wal_index_header() noexcept {
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

}  // namespace nixbuild::store
