// An in-memory index for what the store's database cannot answer quickly: which hash parts are
// certainly absent (most queries to a cache), and which rows may have a NAR of a given hash (table
// ValidPaths has no index on it).
//
// One scan in its own thread creates both (a second for a million paths, longer on a slow disk).
// Newer rows are found by their ids, which SQLite assigns in ascending order. Deleted rows stay in
// the index until the next scan: so what is found here must be looked up in the database, and what
// is not found does not exist. The exception is a row whose NAR hash was changed in place, see
// confirm_no_nar().
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "common/nix/hash.hpp"
#include "server/sqlite/sqlite.hpp"
#include "server/store/database_opening.hpp"

namespace nixbuild::store {

// The statements that a RowIndex uses, on the caller's connection.
struct RowIndexStatements {
  explicit RowIndexStatements(sqlite::Connection& connection);

  sqlite::Statement newer_rows;  // parameters: the last known id, a limit
  // Two numbers that show whether a database was restored in place, or another got its inode:
  sqlite::Statement schema_version;  // changes in that case
  sqlite::Statement highest_id;      // ever assigned; may decrease in that case
};

// Thread-safe. Uses 24 bytes per row.
class RowIndex {
 public:
  // Waits for the thread, which ends within milliseconds.
  ~RowIndex();

  // Brings the index, if there is one, up to date with `generation`; returns whether it is. The
  // caller's read transaction must have begun after `generation` was taken. Throws
  // sqlite::SqliteError.
  bool update(const DatabaseOpening& opening, std::uint64_t generation,
              RowIndexStatements& statements);
  // Clears the index, because the data that update() read turned out to be inconsistent.
  void forget();
  // Starts the thread that makes the index, unless it is running. If the thread cannot be started,
  // scan_failure() reports it.
  void start_scan(const std::shared_ptr<DatabaseOpening>& opening, std::uint64_t generation);
  // Whether the index would help much, or has grown so much that it should be rebuilt.
  bool wants_scan();
  // Why the last scan failed; empty if it did not.
  std::string scan_failure();

  // Whether there certainly was no path with this hash part at `generation`. False if unknown.
  bool lacks_path(std::string_view hash_part, std::uint64_t generation);
  // The rows that may have this NAR hash, as of the last update().
  std::vector<std::int64_t> rows_with_nar_hash(const nix::Sha256& hash);

  // Call this if none of these rows had the hash. Returns whether that is final: false if rows may
  // have been changed in place since the last scan, which runs at most every ten seconds.
  bool confirm_no_nar(std::uint64_t generation);

 private:
  struct NarEntry {
    std::uint64_t prefix;  // of the hash
    std::int64_t id;
    friend auto operator<=>(const NarEntry&, const NarEntry&) = default;
  };
  // Rows in the order read; finish() sorts both parts.
  struct Rows {
    std::vector<std::uint64_t> hash_parts;  // their first 60 bits
    std::vector<NarEntry> nars;
    std::int64_t last_id = 0;

    std::size_t read(sqlite::Statement& newer_rows, std::int64_t limit);
    void truncate(std::size_t size, std::int64_t id);
  };
  void drop();
  void scan(const std::stop_token& stop, DatabaseOpening& opening, std::uint64_t generation);

  std::mutex mutex_;
  bool made_ = false;
  int unanswered_ = 0;  // queries that lacks_path() could not answer because there was no index
  Rows scanned_;
  Rows newer_;          // found since
  FileStamp database_;  // the file that the rows are from
  std::int64_t schema_version_ = 0;
  std::uint64_t generation_ = 0;  // up to which the index is complete
  std::uint64_t scan_generation_ = 0;
  std::chrono::steady_clock::time_point scan_ended_;
  bool scanning_ = false;
  std::string scan_failure_;
  std::jthread scanner_;
};

}  // namespace nixbuild::store
