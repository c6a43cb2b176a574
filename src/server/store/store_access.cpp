#include "server/store/store_access.hpp"

#include <fmt/format.h>
#include <time.h>

#include <utility>

#include "common/base/log.hpp"
#include "server/store/store_unavailable.hpp"

namespace nixbuild::store {

namespace {

// How long a replaced or new database may go unnoticed. Nix's own writes are noticed immediately,
// by DatabaseOpening::generation().
constexpr std::int64_t check_interval = 100'000'000;

// How long not to ask the daemon again after it could not help.
constexpr auto futile_pause = std::chrono::seconds(30);

std::int64_t coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Whether normal opening failed because the -wal and -shm files are missing or need recovery. This
// process cannot create or recover them, but a daemon that has the database open has done both.
bool needs_a_writer(const sqlite::SqliteError& failure, const DatabaseFiles& files) {
  return failure.code() == SQLITE_READONLY_DIRECTORY ||
         failure.code() == SQLITE_READONLY_CANTINIT || failure.code() == SQLITE_READONLY_RECOVERY ||
         (failure.primary_code() == SQLITE_CANTOPEN && stamp_of(files.database).exists());
}

}  // namespace

StoreAccess::StoreAccess(StoreLayout layout, PathFilter visible)
    : layout_(std::move(layout)),
      visible_(std::move(visible)),
      files_(layout_.nix_state_dir),
      daemon_(layout_.nix_state_dir / "daemon-socket" / "socket") {}

bool StoreAccess::still_valid(std::uint64_t epoch) const noexcept {
  return epoch_.load(std::memory_order_acquire) == epoch &&
         coarse_now() < next_check_.load(std::memory_order_relaxed);
}

std::shared_ptr<DatabaseOpening> StoreAccess::opening() {
  const std::lock_guard lock(mutex_);
  const std::int64_t now = coarse_now();
  if (current_ != nullptr && now >= next_check_.load(std::memory_order_relaxed)) {
    next_check_.store(now + check_interval, std::memory_order_relaxed);
    const bool could_be_better = current_->mode() == DatabaseOpening::Mode::private_wal ||
                                 current_->mode() == DatabaseOpening::Mode::immutable;
    const bool daemon_came = could_be_better && daemon_.advance() == DaemonConnection::State::ready;
    if (daemon_came || !current_->is_current()) {
      current_.reset();
      epoch_.store(0, std::memory_order_release);
    }
  }
  if (current_ == nullptr) {
    current_ = open();
    next_check_.store(now + check_interval, std::memory_order_relaxed);
    epoch_.store(current_->epoch(), std::memory_order_release);
  }
  return current_;
}

void StoreAccess::note_odd_row(const std::string& problem) {
  constexpr std::size_t most = 1000;
  const std::lock_guard lock(mutex_);
  if (odd_rows_.size() >= most || !odd_rows_.insert(problem).second) return;
  log::warn("{}; it is taken for absent", problem);
}

void StoreAccess::discard(const DatabaseOpening& opening) noexcept {
  const std::lock_guard lock(mutex_);
  if (current_.get() != &opening) return;
  current_.reset();
  epoch_.store(0, std::memory_order_release);
}

std::shared_ptr<DatabaseOpening> StoreAccess::open() {
  std::shared_ptr<DatabaseOpening> opening;
  try {
    opening = DatabaseOpening::open(files_, ++last_epoch_);
  } catch (const sqlite::SqliteError& failure) {
    if (!needs_a_writer(failure, files_)) throw unavailable(failure, files_.database);
    opening = open_with_help(failure);
  }
  // From here on, our own lock keeps the files in place. Keeping the daemon's process alive would
  // keep Nix's lock, which blocks a migration of the schema.
  if (opening->mode() == DatabaseOpening::Mode::shared_wal) {
    daemon_.close();
  } else if (daemon_.state() == DaemonConnection::State::ready) {
    daemon_.close(futile_pause);  // it has another database open, or none
  }
  return opening;
}

std::shared_ptr<DatabaseOpening> StoreAccess::open_with_help(const sqlite::SqliteError& failure) {
  switch (daemon_.advance()) {
    case DaemonConnection::State::pending:
      throw StoreUnavailable(
          fmt::format("the store database {} can be read once the Nix daemon, which was asked to, "
                      "has opened it",
                      files_.database.native()));
    case DaemonConnection::State::ready:
      try {
        return DatabaseOpening::open(files_, ++last_epoch_);
      } catch (const sqlite::SqliteError& second) {
        daemon_.close(futile_pause);
        throw unavailable(second, files_.database);
      }
    case DaemonConnection::State::absent:
      break;
  }
  if (stamp_of(files_.wal).size != 0) throw unavailable(failure, files_.database);
  try {
    auto opening = DatabaseOpening::open_immutable(files_, ++last_epoch_);
    log::debug("no Nix daemon: the store database {} is read without locks, while it is at rest",
               files_.database.native());
    return opening;
  } catch (const sqlite::SqliteError& second) {
    throw unavailable(second, files_.database);
  }
}

}  // namespace nixbuild::store
