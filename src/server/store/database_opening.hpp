// The store's database as currently open: in which mode, from which file, and how to detect
// changes.
//
// SQLite lets an unprivileged process read a WAL database only while the -wal and -shm files exist.
// Nix up to 2.21 removes them when its last connection closes. But they are not removed while one
// of our readers has the database open: every connection to a WAL database holds a shared lock on
// it, and removal takes an exclusive one. So it is enough to open it once; the opening then keeps
// the files in place until it is closed.
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
  std::filesystem::path lock_directory;  // Nix's locks if `use-sqlite-wal` is off
  std::filesystem::path schema;
};

class DatabaseOpening {
 public:
  enum class Mode {
    shared_wal,   // uses the writers' index: sees locks and changes immediately
    private_wal,  // no writer has it open; SQLite reads the -wal into memory
    rollback,     // a database without WAL
    immutable,    // takes no lock; an answer is valid only if the file did not change meanwhile
  };

  // Opens the database normally and reads its schema. Throws sqlite::SqliteError, StoreUnavailable.
  static std::shared_ptr<DatabaseOpening> open(const DatabaseFiles& files, std::uint64_t epoch);
  // Opens it as `immutable`. Throws sqlite::SqliteError, StoreUnavailable.
  static std::shared_ptr<DatabaseOpening> open_immutable(const DatabaseFiles& files,
                                                         std::uint64_t epoch);

  Mode mode() const noexcept { return mode_; }
  // Unique for each opening in a process, never 0.
  std::uint64_t epoch() const noexcept { return epoch_; }
  // The database's file at the time of opening.
  const FileStamp& database() const noexcept { return database_; }
  bool has_signatures() const noexcept { return has_signatures_; }
  bool has_content_address() const noexcept { return has_content_address_; }

  // Another connection in the same mode, for one thread. Throws sqlite::SqliteError.
  sqlite::Connection connect() const;

  // See StoreDatabase::generation(). Throws sqlite::SqliteError.
  std::uint64_t generation();

  // Whether the paths still name the open files, and no better mode has become possible. Needs
  // several system calls, so do not call it for every query.
  bool is_current();

  // Surrounds a query. In modes in which SQLite's locks do not exclude writers, it checks whether
  // one wrote meanwhile; otherwise it does nothing.
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

  std::mutex mutex_;  // protects connection_ after the constructor
  sqlite::Connection connection_;
  sqlite::Statement data_version_;
  const std::uint64_t* wal_index_ = nullptr;  // shared_wal

  FileStamp database_;  // at the time of opening
  FileStamp index_file_;
  FileStamp schema_;
  std::chrono::steady_clock::time_point opened_;
};

}  // namespace nixbuild::store
