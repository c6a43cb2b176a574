// The history's SQLite database: connection, statements and transactions that end by themselves.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace nixbuild::history {

// All functions throw HistoryError.
class Statement {
 public:
  // Values for ?1, ?2, … in the order of the calls; text is copied.
  Statement& bind(std::int64_t value);
  Statement& bind(std::string_view text);
  Statement& bind(const std::optional<std::string>& text);
  Statement& bind(std::chrono::sys_seconds time);

  bool step();  // whether there is a row
  void run();   // to the end
  void reset();

  // Columns of the row, from 0.
  bool is_null(int column) const;
  std::int64_t integer(int column) const;
  std::string text(int column) const;  // empty for NULL
  std::optional<std::string> optional_text(int column) const;
  std::chrono::sys_seconds time(int column) const;
  std::optional<std::chrono::sys_seconds> optional_time(int column) const;

 private:
  friend class Database;
  Statement(sqlite3* database, sqlite3_stmt* handle) : database_(database), handle_(handle) {}
  void check_bound(int result);

  struct Finalizer {
    void operator()(sqlite3_stmt* handle) const noexcept;
  };
  sqlite3* database_;
  std::unique_ptr<sqlite3_stmt, Finalizer> handle_;
  int bound_ = 0;
};

class Database {
 public:
  // Opens `file`, makes it where it is missing, brings an older form up to date.
  explicit Database(const std::filesystem::path& file);

  Statement prepare(std::string_view sql);
  void execute(const char* sql);
  std::int64_t last_id() const;
  std::int64_t changed_rows() const;  // by the last statement
  std::uint64_t generation();

 private:
  void set_up();

  struct Closer {
    void operator()(sqlite3* handle) const noexcept;
  };
  std::filesystem::path file_;
  std::unique_ptr<sqlite3, Closer> handle_;
  std::optional<Statement> data_version_;
};

// A write transaction; rolled back unless it was committed.
class Transaction {
 public:
  // `durable`: on the disk once committed, also through a power cut. Else it may be lost then, but
  // never half of it.
  enum class Durability { ordinary, durable };
  explicit Transaction(Database& database, Durability durability = Durability::ordinary);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace nixbuild::history
