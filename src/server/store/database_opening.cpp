#include "server/store/database_opening.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstddef>

#include "common/base/files.hpp"
#include "server/store/store_unavailable.hpp"

// Only SQLite may open the database's files: closing any descriptor of a file drops all POSIX locks
// that this process holds on it, including SQLite's. stat(2) is safe.

namespace nixbuild::store {

namespace {

using namespace std::chrono_literals;

// Since version 7, Nix has migrated its database by adding columns (sigs in 8, ca in 10).
constexpr int oldest_schema = 7;
constexpr int newest_schema = 10;

// The header of the WAL index is 48 bytes, written twice. Every commit, checkpoint and recovery
// changes it: change counter, number of frames, checksum and salts of the last frame (source:
// sqlite.org/walformat.html). A writer writes the second copy before the first, so a commit that
// has returned is in the first.
constexpr std::size_t wal_index_header_words = 48 / sizeof(std::uint64_t);

// A file's timestamps advance with the kernel's tick, every 10 ms at the slowest. A write later
// than this after a stamp was taken changes the stamp.
constexpr auto stamp_settles = 20ms;

// Hashes an epoch and other data that distinguishes states into one number; never 0.
class Digest {
 public:
  explicit Digest(std::uint64_t epoch) noexcept { add(epoch); }
  void add(std::uint64_t word) noexcept {
    value_ = (value_ ^ word) * 0x9e3779b97f4a7c15U;
    value_ ^= value_ >> 32;
  }
  std::uint64_t value() const noexcept { return value_ == 0 ? 1 : value_; }

 private:
  std::uint64_t value_ = 0x243f6a8885a308d3U;
};

int read_schema_version(const std::filesystem::path& file) {
  std::optional<std::string> text;
  try {
    text = read_file(file, 64);
  } catch (const Error& error) {
    throw StoreUnavailable(
        fmt::format("reading the version of the store's schema: {}", error.what()));
  }
  if (!text) {
    throw StoreUnavailable(fmt::format(
        "reading the version of the store's schema from {}: there is no such file; has Nix made "
        "this store yet?",
        file.native()));
  }
  int version = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), version);
  const std::string_view rest(end, static_cast<std::size_t>(text->data() + text->size() - end));
  if (error != std::errc() || rest.find_first_not_of(" \n") != std::string_view::npos) {
    throw StoreUnavailable(
        fmt::format("the version of the store's schema in {} is no number", file.native()));
  }
  return version;
}

}  // namespace

DatabaseFiles::DatabaseFiles(const std::filesystem::path& nix_state_dir)
    : database(nix_state_dir / "db" / "db.sqlite"),
      wal(nix_state_dir / "db" / "db.sqlite-wal"),
      wal_index(nix_state_dir / "db" / "db.sqlite-shm"),
      lock_directory(nix_state_dir / "db" / "db.sqlite.lock"),
      schema(nix_state_dir / "db" / "schema") {}

std::shared_ptr<DatabaseOpening> DatabaseOpening::open(const DatabaseFiles& files,
                                                       std::uint64_t epoch) {
  return std::shared_ptr<DatabaseOpening>(new DatabaseOpening(files, epoch, false));
}

std::shared_ptr<DatabaseOpening> DatabaseOpening::open_immutable(const DatabaseFiles& files,
                                                                 std::uint64_t epoch) {
  return std::shared_ptr<DatabaseOpening>(new DatabaseOpening(files, epoch, true));
}

DatabaseOpening::DatabaseOpening(const DatabaseFiles& files, std::uint64_t epoch, bool immutable)
    : files_(files), epoch_(epoch), mode_(immutable ? Mode::immutable : Mode::rollback) {
  database_ = stamp_of(files_.database);
  opened_ = std::chrono::steady_clock::now();
  connection_ =
      sqlite::Connection::open(files_.database, immutable ? sqlite::Connection::Mode::immutable
                                                          : sqlite::Connection::Mode::read_only);
  check_schema();
  if (!immutable) {
    data_version_ = connection_.prepare("pragma data_version");
    if (connection_.query_text("pragma journal_mode") == "wal") {
      wal_index_ = connection_.wal_index_header();
      mode_ = wal_index_ == nullptr ? Mode::private_wal : Mode::shared_wal;
    }
  }
  index_file_ = stamp_of(files_.wal_index);
}

void DatabaseOpening::check_schema() {
  schema_ = stamp_of(files_.schema);
  sqlite::Statement columns =
      connection_.prepare("select name from pragma_table_info('ValidPaths')");
  int found = 0;
  while (columns.step()) {
    const std::string_view name = columns.view(0);
    if (name == "id" || name == "path" || name == "hash" || name == "deriver" ||
        name == "narSize") {
      ++found;
    }
    has_signatures_ |= name == "sigs";
    has_content_address_ |= name == "ca";
  }
  if (found != 5) {
    throw StoreUnavailable(
        fmt::format("the store database {} has no table ValidPaths as Nix makes it; has Nix made "
                    "this store yet?",
                    files_.database.native()));
  }
  const int version = read_schema_version(files_.schema);
  if (version < oldest_schema || version > newest_schema) {
    throw StoreUnavailable(fmt::format(
        "the store database {} is of schema {}, and this program knows {} to {} only; {}",
        files_.database.native(), version, oldest_schema, newest_schema,
        version < oldest_schema ? "let a newer Nix migrate it" : "use a newer nixbuild"));
  }
}

sqlite::Connection DatabaseOpening::connect() const {
  return sqlite::Connection::open(files_.database, mode_ == Mode::immutable
                                                       ? sqlite::Connection::Mode::immutable
                                                       : sqlite::Connection::Mode::read_only);
}

std::uint64_t DatabaseOpening::generation() {
  Digest digest(epoch_);
  if (mode_ == Mode::shared_wal) {
    for (std::size_t i = 0; i < wal_index_header_words; ++i) {
      digest.add(__atomic_load_n(wal_index_ + i, __ATOMIC_ACQUIRE));
    }
    return digest.value();
  }
  // An immutable database never changes: it is replaced by another opening.
  if (mode_ == Mode::immutable) return digest.value();
  const std::lock_guard lock(mutex_);
  const sqlite::StatementUse version(data_version_);
  data_version_.step();
  digest.add(static_cast<std::uint64_t>(data_version_.integer(0)));
  return digest.value();
}

bool DatabaseOpening::is_current() {
  if (!stamp_of(files_.database).same_file(database_)) return false;
  if (stamp_of(files_.schema) != schema_) return false;
  if (mode_ == Mode::shared_wal) return stamp_of(files_.wal_index).same_file(index_file_);
  if (mode_ == Mode::private_wal) {
    const std::lock_guard lock(mutex_);
    return connection_.wal_index_header() == nullptr;
  }
  return true;
}

bool DatabaseOpening::wal_is_empty() const {
  return stamp_of(files_.wal).size == 0;
}

DatabaseOpening::Read DatabaseOpening::begin_read(ReadGuard& guard) {
  switch (mode_) {
    case Mode::shared_wal:
    case Mode::private_wal:
      return Read::sound;
    case Mode::rollback:
      if (stamp_of(files_.lock_directory).exists()) return Read::busy;
      guard.database = stamp_of(files_.database);
      return Read::sound;
    case Mode::immutable:
      if (std::chrono::steady_clock::now() - opened_ < stamp_settles) return Read::busy;
      guard.database = database_;
      return end_read(guard);
  }
  return Read::sound;
}

DatabaseOpening::Read DatabaseOpening::end_read(const ReadGuard& guard) {
  switch (mode_) {
    case Mode::shared_wal:
    case Mode::private_wal:
      return Read::sound;
    case Mode::rollback:
      if (stamp_of(files_.lock_directory).exists()) return Read::busy;
      return stamp_of(files_.database) == guard.database ? Read::sound : Read::changed;
    case Mode::immutable:
      return wal_is_empty() && stamp_of(files_.database) == guard.database ? Read::sound
                                                                           : Read::changed;
  }
  return Read::sound;
}

}  // namespace nixbuild::store
