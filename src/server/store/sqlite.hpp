// SQLite connections and statements that close themselves, for reading only.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/error.hpp"

namespace nixbuild::store {

// What SQLite answered when it could not do what it was asked.
class SqliteFailure : public Error {
 public:
  SqliteFailure(int code, const std::string& message) : Error(message), code_(code) {}
  int code() const noexcept { return code_; }  // extended result code
  int primary_code() const noexcept { return code_ & 0xff; }

 private:
  int code_;
};

class SqliteStatement {
 public:
  SqliteStatement() = default;

  void bind(int position, std::int64_t value);
  // `text` is not copied: it must live until the statement is reset.
  void bind(int position, std::string_view text);

  // Whether there is a row. Throws SqliteFailure.
  bool step();
  // Ends the statement, and with the last statement that is active, the read transaction.
  void reset() noexcept { sqlite3_reset(handle_.get()); }

  std::int64_t integer(int column) { return sqlite3_column_int64(handle_.get(), column); }
  bool is_null(int column) { return sqlite3_column_type(handle_.get(), column) == SQLITE_NULL; }
  // Holds until the next step or reset. Empty for NULL.
  std::string_view text(int column);

 private:
  friend class SqliteConnection;
  struct Finalizer {
    void operator()(sqlite3_stmt* handle) const noexcept { sqlite3_finalize(handle); }
  };
  std::unique_ptr<sqlite3_stmt, Finalizer> handle_;
};

// Resets a statement when it goes out of scope.
class StatementUse {
 public:
  explicit StatementUse(SqliteStatement& statement) noexcept : statement_(statement) {}
  ~StatementUse() { statement_.reset(); }
  StatementUse(const StatementUse&) = delete;
  StatementUse& operator=(const StatementUse&) = delete;
  SqliteStatement* operator->() noexcept { return &statement_; }

 private:
  SqliteStatement& statement_;
};

class SqliteConnection {
 public:
  SqliteConnection() = default;
  // `immutable`: SQLite then takes no lock, looks for no journal and sees no later change.
  // Reads nothing of the file yet. Throws SqliteFailure.
  static SqliteConnection open_read_only(const std::filesystem::path& file, bool immutable);

  explicit operator bool() const noexcept { return handle_ != nullptr; }
  // Throws SqliteFailure.
  SqliteStatement prepare(std::string_view sql);
  // The first column of the first row, empty when there is none. Throws SqliteFailure.
  std::string query_text(std::string_view sql);

  // The beginning of the WAL index (-shm) that SQLite has mapped, null when it has none that other
  // processes share. Lives as long as the connection. Only after something was read.
  const std::uint64_t* wal_index_header() noexcept;

 private:
  struct Closer {
    void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
  };
  std::unique_ptr<sqlite3, Closer> handle_;
};

}  // namespace nixbuild::store
