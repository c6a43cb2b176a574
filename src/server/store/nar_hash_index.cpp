#include "server/store/nar_hash_index.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <utility>

#include "server/store/store_unavailable.hpp"

namespace nixbuild::store {

namespace {

using namespace std::chrono_literals;

constexpr auto scan_interval = 10s;
// So many rows are read in one transaction: few enough that a writer's checkpoint never waits long.
constexpr std::int64_t rows_at_once = 20'000;
constexpr int attempts_at_once = 100;
constexpr auto attempt_pause = 20ms;

std::uint64_t prefix_of(const nix::Sha256& hash) noexcept {
  std::uint64_t prefix = 0;
  for (std::size_t i = 0; i < 8; ++i)
    prefix = prefix << 8 | hash.bytes[i];
  return prefix;
}

}  // namespace

NarHashIndex::~NarHashIndex() {
  scanner_.request_stop();
  if (scanner_.joinable()) scanner_.join();
}

std::vector<std::int64_t> NarHashIndex::candidates(const std::shared_ptr<DatabaseOpening>& opening,
                                                   std::uint64_t generation,
                                                   SqliteStatement& newer_rows,
                                                   const nix::Sha256& hash) {
  const std::lock_guard lock(mutex_);
  if (!database_.same_file(opening->database())) {
    start_scan(opening, generation);
    throw StoreUnavailable(
        "the index of NAR hashes is being made" +
        (scan_failure_.empty() ? std::string() : ", again because of this: " + scan_failure_));
  }
  if (generation != generation_) {
    catch_up(newer_rows);
    generation_ = generation;
    if (newer_.size() > scanned_.size() / 4 + 4096) start_scan(opening, generation);
  }
  std::vector<std::int64_t> ids;
  for (const auto* entries : {&scanned_, &newer_}) {
    const Entry first{prefix_of(hash), std::numeric_limits<std::int64_t>::min()};
    for (auto entry = std::lower_bound(entries->begin(), entries->end(), first);
         entry != entries->end() && entry->prefix == first.prefix; ++entry) {
      ids.push_back(entry->id);
    }
  }
  return ids;
}

void NarHashIndex::confirm_miss(const std::shared_ptr<DatabaseOpening>& opening,
                                std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  if (scan_generation_ == generation) return;
  if (!scanning_ && std::chrono::steady_clock::now() - scan_ended_ < scan_interval) return;
  start_scan(opening, generation);
  throw StoreUnavailable("the index of NAR hashes is being renewed");
}

NarHashIndex::Entry NarHashIndex::entry_of(SqliteStatement& row) {
  constexpr std::string_view algorithm = "sha256:";
  constexpr std::size_t prefix_digits = 16;
  const std::string_view text = row.text(1);
  Entry entry{0, row.integer(0)};
  if (text.size() == algorithm.size() + 64 && text.starts_with(algorithm)) {
    const char* digits = text.data() + algorithm.size();
    std::from_chars(digits, digits + prefix_digits, entry.prefix, 16);
  } else if (const auto hash = nix::Sha256::parse(text)) {
    entry.prefix = prefix_of(*hash);
  }
  return entry;
}

void NarHashIndex::catch_up(SqliteStatement& newer_rows) {
  const StatementUse use(newer_rows);
  newer_rows.bind(1, last_id_);
  newer_rows.bind(2, std::int64_t{-1});
  const auto known = static_cast<std::ptrdiff_t>(newer_.size());
  while (newer_rows.step())
    newer_.push_back(entry_of(newer_rows));
  if (static_cast<std::ptrdiff_t>(newer_.size()) == known) return;
  last_id_ = newer_.back().id;
  std::sort(newer_.begin() + known, newer_.end());
  std::inplace_merge(newer_.begin(), newer_.begin() + known, newer_.end());
}

void NarHashIndex::start_scan(std::shared_ptr<DatabaseOpening> opening, std::uint64_t generation) {
  if (scanning_) return;
  scanning_ = true;
  scanner_ =
      std::jthread([this, opening = std::move(opening), generation](const std::stop_token& stop) {
        std::string failure;
        try {
          scan(stop, *opening, generation);
        } catch (const std::exception& error) {
          failure = error.what();
        }
        const std::lock_guard lock(mutex_);
        scan_failure_ = std::move(failure);
        scan_ended_ = std::chrono::steady_clock::now();
        scanning_ = false;
      });
}

void NarHashIndex::scan(const std::stop_token& stop, DatabaseOpening& opening,
                        std::uint64_t generation) {
  std::vector<Entry> entries;
  SqliteConnection connection;
  SqliteStatement rows;
  std::int64_t last_id = 0;
  for (int attempt = 0; !stop.stop_requested();) {
    const std::size_t known = entries.size();
    std::string problem = "the database is being written to";
    DatabaseOpening::ReadGuard guard;
    const auto begun = opening.begin_read(guard);
    if (begun == DatabaseOpening::Read::changed) throw StoreUnavailable(problem);
    bool sound = begun == DatabaseOpening::Read::sound;
    if (sound) {
      try {
        if (!connection) {
          connection = opening.connect();
          rows = connection.prepare(newer_rows_sql);
        }
        const StatementUse use(rows);
        rows.bind(1, last_id);
        rows.bind(2, rows_at_once);
        while (rows.step())
          entries.push_back(entry_of(rows));
      } catch (const SqliteFailure& failure) {
        problem = failure.what();
        sound = false;
      }
      sound = sound && opening.end_read(guard) == DatabaseOpening::Read::sound;
    }
    if (!sound) {
      entries.resize(known);
      if (++attempt == attempts_at_once) throw StoreUnavailable(problem);
      std::this_thread::sleep_for(attempt_pause);
      continue;
    }
    attempt = 0;
    if (entries.size() > known) last_id = entries.back().id;
    if (entries.size() - known == static_cast<std::size_t>(rows_at_once)) continue;

    std::sort(entries.begin(), entries.end());
    entries.shrink_to_fit();
    const std::lock_guard lock(mutex_);
    scanned_ = std::move(entries);
    newer_ = {};
    last_id_ = last_id;
    database_ = opening.database();
    generation_ = 0;
    scan_generation_ = generation;
    return;
  }
}

}  // namespace nixbuild::store
