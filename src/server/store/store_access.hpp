// State shared by the StoreDatabase objects of a process: the open database, the daemon connection
// that helps to open it, and the row index.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "common/nix/path_info.hpp"
#include "server/store/daemon_connection.hpp"
#include "server/store/database_opening.hpp"
#include "server/store/row_index.hpp"
#include "server/store/store_layout.hpp"

namespace nixbuild::store {

// Whether a path may be seen.
using PathFilter = std::function<bool(const nix::PathInfo&)>;

// Thread-safe. Make one per store, and from it one StoreDatabase per thread.
class StoreAccess {
 public:
  // Opens nothing yet. Paths that `visible` rejects count as absent (null: none does); it is called
  // by any thread.
  explicit StoreAccess(StoreLayout layout, PathFilter visible = {});
  StoreAccess(const StoreAccess&) = delete;
  StoreAccess& operator=(const StoreAccess&) = delete;

  const StoreLayout& layout() const noexcept { return layout_; }
  const std::filesystem::path& database_file() const noexcept { return files_.database; }

 private:
  friend class StoreDatabase;

  // Whether the opening with that epoch can still be used: it has not been discarded, and the next
  // check of its files is not due yet.
  bool still_valid(std::uint64_t epoch) const noexcept;
  // The current opening. Throws StoreUnavailable.
  std::shared_ptr<DatabaseOpening> opening();
  // Rejects this opening, because of a problem with it: the next call of opening() makes another.
  void discard(const DatabaseOpening& opening) noexcept;
  // Logs a problem with a row, once.
  void note_odd_row(const std::string& problem);

  std::shared_ptr<DatabaseOpening> open();
  std::shared_ptr<DatabaseOpening> open_with_help(const sqlite::SqliteError& failure);

  const StoreLayout layout_;
  const PathFilter visible_;
  const DatabaseFiles files_;
  RowIndex row_index_;

  std::atomic<std::uint64_t> epoch_{0};      // of current_, 0 if there is none
  std::atomic<std::int64_t> next_check_{0};  // coarse clock, nanoseconds
  std::mutex mutex_;                         // protects the members below
  std::shared_ptr<DatabaseOpening> current_;
  std::uint64_t last_epoch_ = 0;
  DaemonConnection daemon_;
  std::set<std::string> odd_rows_;  // already logged
};

}  // namespace nixbuild::store
