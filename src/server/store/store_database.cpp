#include "server/store/store_database.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>

#include "server/sqlite/sqlite.hpp"

namespace nixbuild::store {

namespace {

using Read = DatabaseOpening::Read;

// How often a query is retried, without waiting, after a conflict with a writer.
constexpr int attempts = 5;

// A reader without write access may see the WAL index at the moment in which a writer replaces its
// header, and mistake that for a crash.
bool passes_at_once(const sqlite::SqliteError& failure) {
  return failure.code() == SQLITE_READONLY_RECOVERY || failure.code() == SQLITE_BUSY_RECOVERY ||
         failure.code() == SQLITE_READONLY_CANTINIT;
}

bool is_locked(const sqlite::SqliteError& failure) {
  return failure.primary_code() == SQLITE_BUSY || failure.primary_code() == SQLITE_LOCKED;
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

}  // namespace

class StoreDatabase::Impl {
 public:
  explicit Impl(std::shared_ptr<StoreAccess> access)
      : access_(std::move(access)), path_prefix_(access_->layout().store_dir.path() + "/") {}

  // Calls `body`. Its statements see one snapshot if they are in one read transaction.
  template <typename Body>
  auto query(Body&& body) {
    for (int attempt = 1;; ++attempt) {
      try {
        update_opening();
        DatabaseOpening::ReadGuard guard;
        Read read = opening_->begin_read(guard);
        if (read == Read::sound) {
          connect();
          index_updated_ = false;
          try {
            auto result = body(*this);
            read = opening_->end_read(guard);
            if (read == Read::sound) return result;
          } catch (const FormatError& error) {
            read = opening_->end_read(guard);
            if (read == Read::sound) {
              access_->note_odd_row(error.what());
              return decltype(body(*this)){};
            }
          }
          if (index_updated_) index().forget();
        }
        if (read == Read::changed && attempt < attempts) {
          if (opening_->mode() == DatabaseOpening::Mode::immutable) access_->discard(*opening_);
          continue;
        }
        throw StoreUnavailable(
            fmt::format("the store database {} is being written to; it is tried again",
                        access_->database_file().native()));
      } catch (const sqlite::SqliteError& failure) {
        if (passes_at_once(failure) && attempt < attempts) continue;
        if (!is_locked(failure)) access_->discard(*opening_);
        throw unavailable(failure, access_->database_file());
      }
    }
  }

  std::optional<nix::PathInfo> path_info(std::string_view hash_part) {
    lower_bound_.assign(path_prefix_).append(hash_part);
    const sqlite::StatementUse use(path_info_);
    path_info_.bind_view(lower_bound_);
    if (!path_info_.step()) return std::nullopt;
    const std::string_view path = path_info_.view(1);
    if (!path.starts_with(lower_bound_)) return std::nullopt;
    nix::PathInfo info{parse_path(path), parse_hash(path_info_.view(2), path), 0, {}, {}, {}, {}};
    if (path_info_.integer(3) <= 0) {
      throw FormatError(fmt::format("the store database {} has no NAR size for {}",
                                    access_->database_file().native(), path));
    }
    info.nar_size = static_cast<std::uint64_t>(path_info_.integer(3));
    if (!path_info_.is_null(4) && !path_info_.view(4).empty()) {
      info.deriver = parse_path(path_info_.view(4));
    }
    info.signatures = split_words(path_info_.view(5));
    info.content_address = path_info_.view(6);
    // The first statement is still active, so this is the same transaction.
    const sqlite::StatementUse references_use(references_);
    references_.bind(path_info_.integer(0));
    while (references_.step())
      info.references.push_back(parse_path(references_.view(0)));
    std::sort(info.references.begin(), info.references.end());
    if (access_->visible_ && !access_->visible_(info)) return std::nullopt;
    return info;
  }

  RowIndex& index() { return access_->row_index_; }

  // Call it inside a query. Returns whether the index has all rows as of `generation`.
  bool update_index(std::uint64_t generation) {
    index_updated_ = true;
    const bool complete = index().update(*opening_, generation, *index_statements_);
    if (index().wants_scan()) index().start_scan(opening_, generation);
    return complete;
  }

  std::optional<nix::StorePath> path_by_nar_hash(const nix::Sha256& hash,
                                                 std::uint64_t generation) {
    if (!update_index(generation)) {
      index().start_scan(opening_, generation);
      const std::string failure = index().scan_failure();
      throw StoreUnavailable("the index of NAR hashes is being made" +
                             (failure.empty() ? failure : ", again because of this: " + failure));
    }
    bool is_hidden = false;
    for (const std::int64_t id : index().rows_with_nar_hash(hash)) {
      const sqlite::StatementUse use(row_by_id_);
      row_by_id_.bind(id);
      if (!row_by_id_.step()) continue;
      const std::string_view path = row_by_id_.view(0);
      if (parse_hash(row_by_id_.view(1), path) != hash) continue;
      nix::StorePath found = parse_path(path);
      if (!access_->visible_ || path_info(found.hash_part())) return found;
      is_hidden = true;
    }
    if (is_hidden) return std::nullopt;
    if (!index().confirm_no_nar(generation)) {
      index().start_scan(opening_, generation);
      throw StoreUnavailable("the index of NAR hashes is being renewed");
    }
    return std::nullopt;
  }

  std::vector<nix::StorePath> closure(const nix::StorePath& path) {
    std::vector<nix::StorePath> found;
    const std::string full = access_->layout().store_dir.print(path);
    const sqlite::StatementUse use(id_by_path_);  // active to the end: one transaction
    id_by_path_.bind_view(full);
    if (!id_by_path_.step()) return found;
    std::vector<std::int64_t> open{id_by_path_.integer(0)};
    std::unordered_set<std::int64_t> seen{open.front()};
    while (!open.empty()) {
      const std::int64_t id = open.back();
      open.pop_back();
      {
        const sqlite::StatementUse row(row_by_id_);
        row_by_id_.bind(id);
        if (row_by_id_.step()) found.push_back(parse_path(row_by_id_.view(0)));
      }
      const sqlite::StatementUse references(reference_ids_);
      reference_ids_.bind(id);
      while (reference_ids_.step()) {
        const std::int64_t reference = reference_ids_.integer(0);
        if (seen.insert(reference).second) open.push_back(reference);
      }
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  std::optional<Realisation> realisation(std::string_view id) {
    const std::size_t separator = id.find('!');
    if (separator == std::string_view::npos || !has_table("Realisations")) return std::nullopt;
    sqlite::Statement row = connection_.prepare(
        "select r.id, v.path, r.signatures from Realisations r join ValidPaths v "
        "on v.id = r.outputPath where r.drvPath = ? and r.outputName = ? limit 1");
    row.bind_view(id.substr(0, separator));
    row.bind_view(id.substr(separator + 1));
    if (!row.step()) return std::nullopt;
    Realisation found{std::string(id), parse_path(row.view(1)), split_words(row.view(2)), {}};
    sqlite::Statement dependencies = connection_.prepare(
        "select r.drvPath, r.outputName, v.path from RealisationsRefs x join Realisations r "
        "on r.id = x.realisationReference join ValidPaths v on v.id = r.outputPath "
        "where x.referrer = ?");
    dependencies.bind(row.integer(0));
    while (dependencies.step()) {
      found.dependent_realisations.emplace(
          fmt::format("{}!{}", dependencies.view(0), dependencies.view(1)),
          parse_path(dependencies.view(2)));
    }
    return found;
  }

  std::optional<BuildTrace> build_trace(const nix::StorePath& derivation,
                                        std::string_view output_name) {
    if (!has_table("BuildTraceV3")) return std::nullopt;
    sqlite::Statement row = connection_.prepare(
        "select outputPath, signatures from BuildTraceV3 where drvPath = ? and outputName = ? "
        "limit 1");
    row.bind_view(derivation.base_name());
    row.bind_view(output_name);
    if (!row.step()) return std::nullopt;
    return BuildTrace{parse_path(row.view(0)), split_words(row.view(1))};
  }

  std::uint64_t generation() {
    if (opening_ == nullptr || opening_->mode() != DatabaseOpening::Mode::shared_wal ||
        !access_->still_valid(opening_->epoch())) {
      return query([](Impl& self) { return self.opening_->generation(); });
    }
    return opening_->generation();
  }

 private:
  // Sets opening_ to the process's current opening.
  void update_opening() {
    if (opening_ != nullptr && access_->still_valid(opening_->epoch())) return;
    auto opening = access_->opening();
    if (opening == opening_) return;
    disconnect();
    opening_ = std::move(opening);
  }

  void connect() {
    if (connection_) return;
    sqlite::Connection connection = opening_->connect();
    const std::string columns = fmt::format("id, path, hash, narSize, deriver, {}, {}",
                                            opening_->has_signatures() ? "sigs" : "null",
                                            opening_->has_content_address() ? "ca" : "null");
    path_info_ = connection.prepare("select " + columns +
                                    " from ValidPaths where path >= ? order by path limit 1");
    references_ = connection.prepare(
        "select path from Refs join ValidPaths on reference = id "
        "where referrer = ?");
    reference_ids_ = connection.prepare("select reference from Refs where referrer = ?");
    row_by_id_ = connection.prepare("select path, hash from ValidPaths where id = ?");
    id_by_path_ = connection.prepare("select id from ValidPaths where path = ?");
    index_statements_.emplace(connection);
    connection_ = std::move(connection);
  }

  void disconnect() {
    for (sqlite::Statement* statement :
         {&path_info_, &references_, &reference_ids_, &row_by_id_, &id_by_path_}) {
      *statement = sqlite::Statement();
    }
    index_statements_.reset();
    connection_ = sqlite::Connection();
  }

  bool has_table(std::string_view name) {
    sqlite::Statement table =
        connection_.prepare("select 1 from sqlite_master where type = 'table' and name = ?");
    table.bind_view(name);
    return table.step();
  }

  nix::StorePath parse_path(std::string_view path) const {
    if (auto parsed = access_->layout().store_dir.parse(path)) return *std::move(parsed);
    throw FormatError(fmt::format("the store database {} names '{}', which is no path of {}",
                                  access_->database_file().native(), path,
                                  access_->layout().store_dir.path()));
  }

  nix::Sha256 parse_hash(std::string_view hash, std::string_view path) const {
    if (const auto parsed = nix::Sha256::parse(hash)) return *parsed;
    throw FormatError(
        fmt::format("the store database {} has the NAR hash '{}' for {}, which is "
                    "no SHA-256",
                    access_->database_file().native(), hash, path));
  }

  std::shared_ptr<StoreAccess> access_;
  const std::string path_prefix_;
  std::string lower_bound_;  // bound to path_info_
  std::shared_ptr<DatabaseOpening> opening_;
  sqlite::Connection connection_;  // before the statements, which must be destroyed first
  sqlite::Statement path_info_;
  sqlite::Statement references_;
  sqlite::Statement reference_ids_;
  sqlite::Statement row_by_id_;
  sqlite::Statement id_by_path_;
  std::optional<RowIndexStatements> index_statements_;
  bool index_updated_ = false;  // by the current query
};

StoreDatabase::StoreDatabase(std::shared_ptr<StoreAccess> access)
    : impl_(std::make_unique<Impl>(std::move(access))) {}
StoreDatabase::~StoreDatabase() = default;
StoreDatabase::StoreDatabase(StoreDatabase&&) noexcept = default;
StoreDatabase& StoreDatabase::operator=(StoreDatabase&&) noexcept = default;

std::optional<nix::PathInfo> StoreDatabase::query_path_info(std::string_view hash_part) {
  if (!nix::is_hash_part(hash_part)) return std::nullopt;
  // Taken before the query, so that rows added meanwhile count as not yet seen.
  const std::uint64_t generation = impl_->generation();
  if (impl_->index().lacks_path(hash_part, generation)) return std::nullopt;
  return impl_->query([&](Impl& impl) {
    impl.update_index(generation);
    return impl.path_info(hash_part);
  });
}

std::optional<nix::StorePath> StoreDatabase::query_path_by_nar_hash(const nix::Sha256& nar_hash) {
  const std::uint64_t generation = impl_->generation();
  return impl_->query([&](Impl& impl) { return impl.path_by_nar_hash(nar_hash, generation); });
}

std::vector<nix::StorePath> StoreDatabase::query_closure(const nix::StorePath& path) {
  return impl_->query([&](Impl& impl) { return impl.closure(path); });
}

std::optional<Realisation> StoreDatabase::query_realisation(std::string_view id) {
  return impl_->query([&](Impl& impl) { return impl.realisation(id); });
}

std::optional<BuildTrace> StoreDatabase::query_build_trace(const nix::StorePath& derivation,
                                                           std::string_view output_name) {
  return impl_->query([&](Impl& impl) { return impl.build_trace(derivation, output_name); });
}

std::uint64_t StoreDatabase::generation() {
  return impl_->generation();
}

}  // namespace nixbuild::store
