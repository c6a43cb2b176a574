// The store's database as it is open at present: in which way, from which file, and how to tell
// whether it has changed.
//
// SQLite lets an unprivileged process read a WAL database only while the -wal and -shm files exist.
// Nix up to 2.21 removes them when its last connection closes. But they are not removed while a
// reader of ours has the database open: every connection to a WAL database holds a shared lock on
// it, and removal takes an exclusive one. So all that matters is to get in once; the opening then
// holds the files until it is closed.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "server/sqlite/sqlite.hpp"
#include "server/store/file_stamp.hpp"

namespace nixbuild::store {

// The files of <state>/db.
struct DatabaseFiles {
  explicit DatabaseFiles(const std::filesystem::path& nix_state_dir);

  std::filesystem::path database;
  std::filesystem::path wal;
  std::filesystem::path wal_index;
  std::filesystem::path lock_directory;  // what Nix locks with where `use-sqlite-wal` is off
  std::filesystem::path schema;
};

class DatabaseOpening {
 public:
  enum class Mode {
    shared_wal,   // with the index that writers use: locks and changes are seen at once
    private_wal,  // no writer has it open, and SQLite reads the -wal into memory by itself
    rollback,     // a database without WAL
    immutable,    // no lock is taken; an answer counts only if the file was at rest meanwhile
  };

  // Opens the database plainly and reads its schema. Throws sqlite::SqliteError, StoreUnavailable.
  static std::shared_ptr<DatabaseOpening> open(const DatabaseFiles& files, std::uint64_t epoch);
  // Opens it as `immutable`. Throws sqlite::SqliteError, StoreUnavailable.
  static std::shared_ptr<DatabaseOpening> open_immutable(const DatabaseFiles& files,
                                                         std::uint64_t epoch);

  Mode mode() const noexcept { return mode_; }
  // Different for every opening of a process, never 0.
  std::uint64_t epoch() const noexcept { return epoch_; }
  // The database's file when it was opened.
  const FileStamp& database() const noexcept { return database_; }
  bool has_signatures() const noexcept { return has_signatures_; }
  bool has_content_address() const noexcept { return has_content_address_; }

  // Another connection in the same mode, for one thread. Throws sqlite::SqliteError.
  sqlite::Connection connect() const;

  // As StoreDatabase::generation(). Throws sqlite::SqliteError.
  std::uint64_t generation();

  // Whether the paths still name the files that are open, and no better mode has become possible.
  // Some system calls: for use now and then.
  bool is_current();

  // What a query begins with and ends with. Where SQLite's locks say nothing about writers, they
  // look whether there was one; elsewhere they do nothing.
  struct ReadGuard {
    FileStamp database;
  };
  enum class Read { sound, changed, busy };
  Read begin_read(ReadGuard& guard);
  Read end_read(const ReadGuard& guard);

 private:
  DatabaseOpening(const DatabaseFiles& files, std::uint64_t epoch, bool immutable);
  void check_schema();
  bool wal_is_empty() const;

  const DatabaseFiles files_;
  const std::uint64_t epoch_;
  Mode mode_;
  bool has_signatures_ = false;
  bool has_content_address_ = false;

  std::mutex mutex_;  // for the use of connection_ after the constructor
  sqlite::Connection connection_;
  sqlite::Statement data_version_;
  const std::uint64_t* wal_index_ = nullptr;  // shared_wal

  FileStamp database_;  // as opened
  FileStamp index_file_;
  FileStamp schema_;
  std::chrono::steady_clock::time_point opened_;
};

}  // namespace nixbuild::store
