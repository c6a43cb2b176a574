#include "server/store/store_reader.hpp"

#include <utility>

#include "common/base/log.hpp"

namespace nixbuild::store {
namespace {

// Shorter failures are not worth logging: a lock held by the daemon, an index being built.
constexpr std::chrono::milliseconds log_delay{200};

}  // namespace

StoreReader::StoreReader(StoreLayout layout, std::chrono::milliseconds patience, PathFilter visible)
    : access_(std::make_shared<StoreAccess>(std::move(layout), std::move(visible))),
      patience_(patience),
      databases_([this] { return std::make_unique<StoreDatabase>(access_); }) {}

boost::asio::awaitable<std::optional<nix::PathInfo>> StoreReader::find_path(std::string hash_part) {
  const auto query = [&hash_part](StoreDatabase& database) {
    return database.query_path_info(hash_part);
  };
  boost::asio::awaitable<std::optional<nix::PathInfo>> asking =
      patiently<std::optional<nix::PathInfo>>(query);
  co_return co_await std::move(asking);
}

void StoreReader::note_unavailable(std::string_view reason) {
  failures_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (!unavailable_.exchange(true)) unavailable_since_ = now;
  if (logged_ || now - unavailable_since_ < log_delay) return;
  logged_ = true;
  log::warn("{}; asking again every {} ms", reason, retry_interval.count());
}

void StoreReader::note_available() {
  const std::lock_guard lock(mutex_);
  if (!unavailable_.exchange(false) || !std::exchange(logged_, false)) return;
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - unavailable_since_;
  log::info("the store's database can be read again, after {:.2f} s", time.count());
}

std::optional<std::chrono::steady_clock::duration> StoreReader::unavailable_for() const {
  const std::lock_guard lock(mutex_);
  if (!unavailable_) return std::nullopt;
  return std::chrono::steady_clock::now() - unavailable_since_;
}

}  // namespace nixbuild::store
