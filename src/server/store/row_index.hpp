// What the store's database has no quick answer to, kept in memory: which hash parts are surely not
// there (most questions that a cache is asked), and which rows may hold a NAR of a given hash
// (table ValidPaths has no index on it).
//
// One scan by a thread of its own makes both (a second for a million paths, more from a slow disk).
// Rows that come later are found by their ids, which SQLite gives out in ascending order. Rows that
// are deleted stay known until the next scan: what is found here must be looked up in the database,
// what is not found is not there. A row whose NAR hash was changed in place is the exception, see
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

// The statements that a RowIndex reads with, on a connection of the caller.
struct RowIndexStatements {
  explicit RowIndexStatements(sqlite::Connection& connection);

  sqlite::Statement newer_rows;  // parameters: the last id that is known, a limit
  // Two numbers that tell when a database was restored in place, or another took its inode:
  sqlite::Statement schema_version;  // then it changes
  sqlite::Statement highest_id;      // that was ever given out; then it may go back
};

// Thread-safe. 24 bytes a row.
class RowIndex {
 public:
  // Waits for the thread, which ends within milliseconds.
  ~RowIndex();

  // Makes the index complete as of `generation`, if it is made at all; returns whether. The
  // caller's read transaction began after `generation` was taken. Throws sqlite::SqliteError.
  bool update(const DatabaseOpening& opening, std::uint64_t generation,
              RowIndexStatements& statements);
  // Forgets everything: what update() read turned out unsound.
  void forget();
  // Starts the thread that makes the index, unless it runs. Where none can be started, that is the
  // scan's failure.
  void start_scan(const std::shared_ptr<DatabaseOpening>& opening, std::uint64_t generation);
  // Whether the index would save much, or has grown so much that it should be made anew.
  bool wants_scan();
  // Why the last scan came to nothing, empty when it did not.
  std::string scan_failure();

  // Whether there surely was no path with this hash part at `generation`. False while that is not
  // known.
  bool lacks_path(std::string_view hash_part, std::uint64_t generation);
  // The rows that may have this NAR hash, as of the last update().
  std::vector<std::int64_t> rows_with_nar_hash(const nix::Sha256& hash);

  // To be called when none of these rows had it. Returns whether that is final: false when rows may
  // have been changed in place since the last scan, of which at most one is made in ten seconds.
  bool confirm_no_nar(std::uint64_t generation);

 private:
  struct NarEntry {
    std::uint64_t prefix;  // of the hash
    std::int64_t id;
    friend auto operator<=>(const NarEntry&, const NarEntry&) = default;
  };
  // Rows as they were read; both parts sorted by finish().
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
  int unanswered_ = 0;  // questions that lacks_path() could not answer for want of the index
  Rows scanned_;
  Rows newer_;          // found since
  FileStamp database_;  // which file the rows are of
  std::int64_t schema_version_ = 0;
  std::uint64_t generation_ = 0;  // complete at this
  std::uint64_t scan_generation_ = 0;
  std::chrono::steady_clock::time_point scan_ended_;
  bool scanning_ = false;
  std::string scan_failure_;
  std::jthread scanner_;
};

}  // namespace nixbuild::store
