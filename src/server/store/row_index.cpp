#include "server/store/row_index.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <system_error>
#include <utility>

#include "common/nix/store_path.hpp"
#include "server/store/store_unavailable.hpp"

namespace nixbuild::store {

namespace {

using namespace std::chrono_literals;

constexpr auto scan_interval = 10s;
// Rows read in one transaction: few enough that a writer's checkpoint never waits long.
constexpr std::int64_t rows_at_once = 20'000;
constexpr std::int64_t all_rows = -1;
constexpr std::int64_t most_rows_reserved = 20'000'000;
constexpr int attempts_at_once = 100;
constexpr auto attempt_pause = 20ms;
// A process with few queries need not read the whole table.
constexpr int questions_without_index = 200;

std::uint64_t prefix_of(const nix::Sha256& hash) noexcept {
  std::uint64_t prefix = 0;
  for (std::size_t i = 0; i < 8; ++i)
    prefix = prefix << 8 | hash.bytes[i];
  return prefix;
}

// The prefix of a hash in the database's notation; 0 if it is invalid.
std::uint64_t nar_prefix(std::string_view text) {
  constexpr std::string_view algorithm = "sha256:";
  constexpr std::size_t prefix_digits = 16;
  std::uint64_t prefix = 0;
  if (text.size() == algorithm.size() + 64 && text.starts_with(algorithm)) {
    const char* digits = text.data() + algorithm.size();
    std::from_chars(digits, digits + prefix_digits, prefix, 16);
  } else if (const auto hash = nix::Sha256::parse(text)) {
    prefix = prefix_of(*hash);
  }
  return prefix;
}

// The first ten characters, of six bits each.
std::uint64_t hash_part_prefix(std::string_view hash_part) noexcept {
  std::uint64_t prefix = 0;
  for (const char c : hash_part.substr(0, 10)) {
    const int value = c <= '9' ? c - '0' : c - 'a' + 10;
    prefix = prefix << 6 | static_cast<std::uint64_t>(value & 0x3f);
  }
  return prefix;
}

std::uint64_t hash_part_prefix_of_path(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return hash_part_prefix(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

// Sorts the elements after the first `sorted` ones, and merges both.
template <typename T>
void sort_from(std::vector<T>& elements, std::size_t sorted) {
  const auto middle = elements.begin() + static_cast<std::ptrdiff_t>(sorted);
  std::sort(middle, elements.end());
  std::inplace_merge(elements.begin(), middle, elements.end());
}

std::int64_t read_highest_id(RowIndexStatements& statements) {
  const sqlite::StatementUse use(statements.highest_id);
  return statements.highest_id.step() ? statements.highest_id.integer(0) : 0;
}

}  // namespace

RowIndexStatements::RowIndexStatements(sqlite::Connection& connection)
    : newer_rows(connection.prepare(
          "select id, path, hash from ValidPaths where id > ? order by id limit ?")),
      schema_version(connection.prepare("pragma schema_version")),
      highest_id(connection.prepare("select seq from sqlite_sequence where name = 'ValidPaths'")) {}

RowIndex::~RowIndex() {
  scanner_.request_stop();
  if (scanner_.joinable()) scanner_.join();
}

bool RowIndex::update(const DatabaseOpening& opening, std::uint64_t generation,
                      RowIndexStatements& statements) {
  const std::lock_guard lock(mutex_);
  if (!made_) return false;
  if (generation_ == generation) return true;
  const std::int64_t last_known = std::max(newer_.last_id, scanned_.last_id);
  const sqlite::StatementUse version_use(
      statements.schema_version);  // active: all in one transaction
  statements.schema_version.step();
  if (!database_.same_file(opening.database()) ||
      statements.schema_version.integer(0) != schema_version_ ||
      read_highest_id(statements) < last_known) {
    drop();
    return false;
  }
  const std::size_t known = newer_.nars.size();
  newer_.last_id = last_known;
  try {
    newer_.read(statements.newer_rows, all_rows);
  } catch (...) {
    newer_.truncate(known, last_known);
    throw;
  }
  sort_from(newer_.hash_parts, known);
  sort_from(newer_.nars, known);
  generation_ = generation;
  return true;
}

void RowIndex::forget() {
  const std::lock_guard lock(mutex_);
  drop();
}

void RowIndex::drop() {
  made_ = false;
  scanned_ = {};
  newer_ = {};
}

bool RowIndex::wants_scan() {
  const std::lock_guard lock(mutex_);
  return made_ ? newer_.nars.size() > scanned_.nars.size() / 4 + 4096
               : unanswered_ > questions_without_index;
}

void RowIndex::start_scan(const std::shared_ptr<DatabaseOpening>& opening,
                          std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  if (scanning_) return;
  try {
    scanner_ = std::jthread([this, opening, generation](const std::stop_token& stop) {
      std::string failure;
      try {
        scan(stop, *opening, generation);
      } catch (const std::exception& error) {
        failure = error.what();
      }
      const std::lock_guard done(mutex_);
      scan_failure_ = std::move(failure);
      scan_ended_ = std::chrono::steady_clock::now();
      scanning_ = false;
    });
  } catch (const std::system_error& error) {
    scan_failure_ = fmt::format("no thread can be started: {}", error.what());
    return;
  }
  scanning_ = true;
}

std::string RowIndex::scan_failure() {
  const std::lock_guard lock(mutex_);
  return scan_failure_;
}

bool RowIndex::lacks_path(std::string_view hash_part, std::uint64_t generation) {
  const std::uint64_t prefix = hash_part_prefix(hash_part);
  const std::lock_guard lock(mutex_);
  if (!made_) unanswered_ = std::min(unanswered_ + 1, questions_without_index + 1);
  return made_ && generation_ == generation &&
         !std::binary_search(scanned_.hash_parts.begin(), scanned_.hash_parts.end(), prefix) &&
         !std::binary_search(newer_.hash_parts.begin(), newer_.hash_parts.end(), prefix);
}

std::vector<std::int64_t> RowIndex::rows_with_nar_hash(const nix::Sha256& hash) {
  const NarEntry first{prefix_of(hash), std::numeric_limits<std::int64_t>::min()};
  std::vector<std::int64_t> ids;
  const std::lock_guard lock(mutex_);
  for (const auto* entries : {&scanned_.nars, &newer_.nars}) {
    for (auto entry = std::lower_bound(entries->begin(), entries->end(), first);
         entry != entries->end() && entry->prefix == first.prefix; ++entry) {
      ids.push_back(entry->id);
    }
  }
  return ids;
}

bool RowIndex::confirm_no_nar(std::uint64_t generation) {
  const std::lock_guard lock(mutex_);
  if (scan_generation_ == generation) return true;
  return !scanning_ && std::chrono::steady_clock::now() - scan_ended_ < scan_interval;
}

std::size_t RowIndex::Rows::read(sqlite::Statement& newer_rows, std::int64_t limit) {
  const sqlite::StatementUse use(newer_rows);
  newer_rows.bind(last_id);
  newer_rows.bind(limit);
  std::size_t count = 0;
  for (; newer_rows.step(); ++count) {
    last_id = newer_rows.integer(0);
    hash_parts.push_back(hash_part_prefix_of_path(newer_rows.view(1)));
    nars.push_back({nar_prefix(newer_rows.view(2)), last_id});
  }
  return count;
}

void RowIndex::Rows::truncate(std::size_t size, std::int64_t id) {
  hash_parts.resize(size);
  nars.resize(size);
  last_id = id;
}

void RowIndex::scan(const std::stop_token& stop, DatabaseOpening& opening,
                    std::uint64_t generation) {
  Rows rows;
  sqlite::Connection connection;
  std::optional<RowIndexStatements> statements;
  std::int64_t schema_version = 0;
  for (int attempt = 0; !stop.stop_requested();) {
    const std::size_t known = rows.nars.size();
    const std::int64_t last_id = rows.last_id;
    std::size_t count = 0;
    std::string problem = "the database is being written to";
    DatabaseOpening::ReadGuard guard;
    const auto begun = opening.begin_read(guard);
    if (begun == DatabaseOpening::Read::changed) throw StoreUnavailable(problem);
    bool sound = begun == DatabaseOpening::Read::sound;
    if (sound) {
      try {
        if (!statements) {
          connection = opening.connect();
          statements.emplace(connection);
          const sqlite::StatementUse use(statements->schema_version);
          statements->schema_version.step();
          schema_version = statements->schema_version.integer(0);
          // Memory that is reserved but not written costs nothing.
          const auto most = static_cast<std::size_t>(
              std::clamp<std::int64_t>(read_highest_id(*statements), 0, most_rows_reserved));
          rows.hash_parts.reserve(most);
          rows.nars.reserve(most);
        }
        count = rows.read(statements->newer_rows, rows_at_once);
      } catch (const sqlite::SqliteError& failure) {
        problem = failure.what();
        sound = false;
      }
      sound = sound && opening.end_read(guard) == DatabaseOpening::Read::sound;
    }
    if (!sound) {
      rows.truncate(known, last_id);
      if (++attempt == attempts_at_once) throw StoreUnavailable(problem);
      std::this_thread::sleep_for(attempt_pause);
      continue;
    }
    attempt = 0;
    if (count == static_cast<std::size_t>(rows_at_once)) continue;

    sort_from(rows.hash_parts, 0);
    sort_from(rows.nars, 0);
    const std::lock_guard lock(mutex_);
    scanned_ = std::move(rows);
    newer_ = {};
    database_ = opening.database();
    schema_version_ = schema_version;
    generation_ = 0;  // the rows added meanwhile are still to be read
    scan_generation_ = generation;
    made_ = true;
    return;
  }
}

}  // namespace nixbuild::store
