// SQLite: connections, statements and transactions with automatic cleanup, and errors.
//
// A Connection and all objects made from it belong to one thread. Every function that reads or
// writes rows throws SqliteError.
#pragma once

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/error.hpp"

namespace nixbuild::sqlite {

// An SQLite operation failed. what() names the file.
class SqliteError : public Error {
 public:
  SqliteError(int code, const std::string& message, std::string detail)
      : Error(message), code_(code), detail_(std::move(detail)) {}
  int code() const noexcept { return code_; }  // extended result code
  int primary_code() const noexcept { return code_ & 0xff; }
  const std::string& detail() const noexcept { return detail_; }  // SQLite's message alone

 private:
  int code_;
  std::string detail_;
};

// The disk is full. The database is intact, and usable again once there is space.
class DiskFull : public SqliteError {
 public:
  using SqliteError::SqliteError;
};

class Connection;

class Statement {
 public:
  Statement() = default;

  // Values for ?1, ?2, … in the order of the calls. bind() copies text; with bind_view(), it must
  // live until the statement is reset.
  Statement& bind(std::int64_t value);
  Statement& bind(std::string_view text);
  Statement& bind(const std::optional<std::string>& text);  // nothing: NULL
  Statement& bind(std::chrono::sys_seconds time);           // seconds since 1970
  Statement& bind_view(std::string_view text);

  bool step();  // whether there is a row
  void run();   // to the end
  // Ends the statement; resetting the last active one ends its read transaction. Afterwards, values
  // can be bound again, starting with ?1.
  void reset() noexcept;

  // Columns of the row, starting at 0. NULL reads as 0 or empty.
  bool is_null(int column) const noexcept;
  std::int64_t integer(int column) const noexcept;
  std::string text(int column) const { return std::string(view(column)); }
  std::string_view view(int column) const noexcept;  // until the next step or reset
  std::optional<std::string> optional_text(int column) const;
  std::chrono::sys_seconds time(int column) const noexcept;
  std::optional<std::chrono::sys_seconds> optional_time(int column) const noexcept;

 private:
  friend class Connection;
  struct Finalizer {
    void operator()(sqlite3_stmt* handle) const noexcept { sqlite3_finalize(handle); }
  };
  void check(int result);

  std::unique_ptr<sqlite3_stmt, Finalizer> handle_;
  int bound_ = 0;
};

// Resets a statement when it goes out of scope.
class StatementUse {
 public:
  explicit StatementUse(Statement& statement) noexcept : statement_(statement) {}
  ~StatementUse() { statement_.reset(); }
  StatementUse(const StatementUse&) = delete;
  StatementUse& operator=(const StatementUse&) = delete;

 private:
  Statement& statement_;
};

class Connection {
 public:
  enum class Mode {
    read_only,
    immutable,   // read only; SQLite takes no lock, ignores journals and sees no later change
    read_write,  // an existing file; waits for locks for up to 5 s
  };

  Connection() = default;
  // Does not read the file yet.
  static Connection open(const std::filesystem::path& file, Mode mode);

  explicit operator bool() const noexcept { return handle_ != nullptr; }
  Statement prepare(std::string_view sql);
  void execute(const char* sql);
  void execute(const std::string& sql) { execute(sql.c_str()); }
  // The first column of the first row; empty if there is no row.
  std::string query_text(std::string_view sql);
  std::int64_t query_integer(std::string_view sql);

  std::int64_t last_id() const noexcept;
  std::int64_t changed_rows() const noexcept;   // by the last statement
  std::int64_t total_changes() const noexcept;  // rows, since the connection was opened

  // The beginning of the WAL index (-shm) as mapped by SQLite; null if it has none that is shared
  // with other processes. Valid as long as the connection. Call it only after reading something.
  const std::uint64_t* wal_index_header() noexcept;

 private:
  struct Closer {
    void operator()(sqlite3* handle) const noexcept { sqlite3_close_v2(handle); }
  };
  std::unique_ptr<sqlite3, Closer> handle_;
};

// A write transaction; rolled back unless it was committed.
class Transaction {
 public:
  // `durable`: on disk once committed, even after a power failure. Otherwise a power failure may
  // lose the whole transaction, but never a part of it.
  enum class Durability { ordinary, durable };
  explicit Transaction(Connection& connection, Durability durability = Durability::ordinary);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Connection& connection_;
  bool open_ = true;
};

}  // namespace nixbuild::sqlite
