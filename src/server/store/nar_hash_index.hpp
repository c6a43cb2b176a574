// Which rows of the store's database may hold a NAR of a given hash: the index that table
// ValidPaths lacks. Rows are named by id; whoever asks looks whether a row still is there and has
// that hash, so an entry that is out of date costs a look, never a wrong answer.
//
// Made on first use, by a thread of its own (a second for a million paths, more from a slow disk).
// Rows that come later are found by their ids, which SQLite gives out in ascending order. A row
// whose hash was changed in place is not found so; a full scan finds it.
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
#include "server/store/database_opening.hpp"
#include "server/store/sqlite.hpp"

namespace nixbuild::store {

// Thread-safe. 16 bytes a row.
class NarHashIndex {
 public:
  // Waits for the thread, which ends within milliseconds.
  ~NarHashIndex();

  // The ids of rows that may have `hash`, in ascending order. `generation` was taken before the
  // call; `newer_rows` is for use within the call: ids and hashes of the rows behind an id, on a
  // connection of the caller. Throws StoreUnavailable while the index is being made, SqliteFailure.
  std::vector<std::int64_t> candidates(const std::shared_ptr<DatabaseOpening>& opening,
                                       std::uint64_t generation, SqliteStatement& newer_rows,
                                       const nix::Sha256& hash);

  // To be called when no candidate was right. Returns when that is final; throws StoreUnavailable
  // when rows may have been changed in place since the last full scan: one is made now. At most
  // one scan in ten seconds.
  void confirm_miss(const std::shared_ptr<DatabaseOpening>& opening, std::uint64_t generation);

  // For the statement `newer_rows`, whose parameters are an id and a limit.
  static constexpr std::string_view newer_rows_sql =
      "select id, hash from ValidPaths where id > ? order by id limit ?";

 private:
  struct Entry {
    std::uint64_t prefix;  // of the hash
    std::int64_t id;
    friend auto operator<=>(const Entry&, const Entry&) = default;
  };
  static Entry entry_of(SqliteStatement& row);
  void catch_up(SqliteStatement& newer_rows);
  void start_scan(std::shared_ptr<DatabaseOpening> opening, std::uint64_t generation);
  void scan(const std::stop_token& stop, DatabaseOpening& opening, std::uint64_t generation);

  std::mutex mutex_;
  std::vector<Entry> scanned_;  // sorted, as the last scan found them
  std::vector<Entry> newer_;    // sorted, found since
  std::int64_t last_id_ = 0;
  FileStamp database_;            // which file the entries are of
  std::uint64_t generation_ = 0;  // the entries are complete up to this
  std::uint64_t scan_generation_ = 0;
  std::chrono::steady_clock::time_point scan_ended_;
  bool scanning_ = false;
  std::string scan_failure_;  // why the last scan came to nothing
  std::jthread scanner_;
};

}  // namespace nixbuild::store
