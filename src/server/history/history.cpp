#include "server/history/history.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string_view>

#include "common/base/time.hpp"
#include "common/nix/hash.hpp"
#include "common/protocol/names.hpp"
#include "server/history/kept_text.hpp"
#include "server/history/schema.hpp"
#include "server/sqlite/sqlite.hpp"

namespace nixbuild::history {
namespace {

using protocol::BuildState;
using protocol::TargetResult;
using sqlite::Connection;
using sqlite::Statement;
using sqlite::Transaction;

constexpr std::string_view build_columns =
    "SELECT id, repository, state, triggered_by, triggered_from, queued_at, start, finish, "
    "commit_id, commit_subject, commit_author, error, flake_lock IS NOT NULL, branch FROM builds ";

protocol::Build build_of(const Statement& row) {
  protocol::Build build;
  build.id = row.integer(0);
  build.repository = row.text(1);
  build.state = protocol::value_of<BuildState>(row.view(2));
  build.triggered_by = row.text(3);
  build.triggered_from = row.text(4);
  build.queued_at = row.time(5);
  build.start = row.optional_time(6);
  build.finish = row.optional_time(7);
  build.commit = row.optional_text(8);
  build.commit_subject = row.text(9);
  build.commit_author = row.text(10);
  build.error = row.optional_text(11);
  build.has_lock = row.integer(12) != 0;
  if (!row.view(13).empty()) build.branch = row.text(13);
  // A run-build of an earlier release records a cancelled build this way.
  if (build.state == BuildState::failed && build.error == reason_cancelled) {
    build.state = BuildState::cancelled;
  }
  return build;
}

std::size_t text_size(const protocol::Build& build) {
  return build.repository.size() + build.triggered_by.size() + build.triggered_from.size() +
         build.commit_subject.size() + build.commit_author.size() +
         build.error.value_or("").size() + build.branch.value_or("").size();
}

std::vector<protocol::Build> builds_of(Statement statement) {
  std::vector<protocol::Build> builds;
  while (statement.step())
    builds.push_back(build_of(statement));
  return builds;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

std::vector<protocol::Phase> phases_of(Connection& database, std::int64_t id) {
  Statement statement =
      database.prepare("SELECT name, start, finish FROM phases WHERE build = ?1 ORDER BY position");
  statement.bind(id);
  std::vector<protocol::Phase> phases;
  while (statement.step()) {
    phases.push_back({statement.text(0), statement.time(1), statement.optional_time(2)});
  }
  return phases;
}

std::vector<protocol::Target> targets_of(Connection& database, std::int64_t id) {
  Statement statement = database.prepare(
      "SELECT name, result, derivation, error, log_tail FROM targets WHERE build = ?1 "
      "ORDER BY position");
  statement.bind(id);
  std::vector<protocol::Target> targets;
  while (statement.step()) {
    protocol::Target target;
    target.name = statement.text(0);
    target.result = protocol::value_of<TargetResult>(statement.view(1));
    target.derivation = statement.text(2);
    target.error = statement.text(3);
    target.log_tail = split(statement.text(4));
    targets.push_back(std::move(target));
  }
  Statement outputs = database.prepare(
      "SELECT target, name, path, nar_size FROM outputs WHERE build = ?1 "
      "ORDER BY target, position");
  outputs.bind(id);
  while (outputs.step()) {
    const auto position = static_cast<std::size_t>(outputs.integer(0));
    if (position >= targets.size()) continue;
    targets[position].outputs.push_back(
        {outputs.text(1), outputs.text(2), static_cast<std::uint64_t>(outputs.integer(3))});
  }
  return targets;
}

std::vector<protocol::DerivationTime> derivations_of(Connection& database, std::int64_t id) {
  Statement statement = database.prepare(
      "SELECT derivation, name, start, milliseconds, failed FROM derivations WHERE build = ?1 "
      "ORDER BY position");
  statement.bind(id);
  std::vector<protocol::DerivationTime> derivations;
  while (statement.step()) {
    derivations.push_back({statement.text(0), statement.text(1), statement.time(2),
                           static_cast<std::uint64_t>(statement.integer(3)),
                           statement.integer(4) != 0});
  }
  return derivations;
}

// Call it inside a transaction.
void end_build(Connection& database, std::int64_t id, const std::optional<std::string>& error,
               protocol::Time finish) {
  const bool is_cancelled = error == reason_cancelled;
  Statement statement = database.prepare(
      "UPDATE builds SET state = iif(state = 'cancelled', state, ?2), "
      "error = iif(state = 'cancelled', error, ?3), finish = max(?4, coalesce(start, queued_at)) "
      "WHERE id = ?1 AND finish IS NULL RETURNING error");
  statement.bind(id)
      .bind(protocol::name_of(is_cancelled ? BuildState::cancelled
                              : error      ? BuildState::failed
                                           : BuildState::success))
      .bind(error ? std::optional(shortened(*error, build_error_limit)) : error)
      .bind(finish);
  if (!statement.step()) return;
  const auto kept_error = statement.optional_text(0);
  statement.run();
  Statement phases = database.prepare(
      "UPDATE phases SET finish = max(?2, start) WHERE build = ?1 AND finish IS NULL");
  phases.bind(id).bind(finish).run();
  if (!kept_error) return;
  // A target that was not reached must not look as if it were still pending.
  Statement targets = database.prepare(
      "UPDATE targets SET result = 'failed', error = ?2 WHERE build = ?1 AND result = 'pending'");
  targets.bind(id).bind(kept_error).run();
}

// Oldest first.
std::vector<protocol::Build> unfinished_builds(Connection& database,
                                               const std::string& repository) {
  Statement statement = database.prepare(std::string(build_columns) +
                                         "WHERE repository = ?1 AND finish IS NULL ORDER BY id");
  statement.bind(std::string_view(repository));
  return builds_of(std::move(statement));
}

// The first phase begins before the fetch, so a commit that is pushed before it is built.
bool has_begun_to_fetch(Connection& database, std::int64_t id) {
  Statement statement = database.prepare("SELECT 1 FROM phases WHERE build = ?1");
  statement.bind(id);
  return statement.step();
}

std::int64_t insert(Connection& database, const Trigger& trigger) {
  Statement statement = database.prepare(
      "INSERT INTO builds (repository, state, triggered_by, triggered_from, queued_at, branch) "
      "VALUES (?1, 'queued', ?2, ?3, ?4, ?5)");
  statement.bind(std::string_view(trigger.repository))
      .bind(std::string_view(trigger.by))
      .bind(std::string_view(trigger.from))
      .bind(now())
      .bind(std::string_view(trigger.branch ? *trigger.branch : std::string()))
      .run();
  return database.last_id();
}

}  // namespace

class History::Impl {
 public:
  Impl(const std::filesystem::path& file, Access access)
      : database(access == Access::read_only ? open_history_to_read(file) : open_history(file)),
        data_version(database.prepare("PRAGMA data_version")) {}

  Connection database;
  Statement data_version;
};

History::History(const std::filesystem::path& file, Access access)
    : impl_(std::make_unique<Impl>(file, access)) {}
History::~History() = default;
History::History(History&&) noexcept = default;
History& History::operator=(History&&) noexcept = default;

History::Queued History::insert_queued(const Trigger& trigger) {
  Transaction transaction(impl_->database, Transaction::Durability::durable);
  std::optional<std::int64_t> running;
  std::optional<std::int64_t> queued;
  for (const protocol::Build& build : unfinished_builds(impl_->database, trigger.repository)) {
    if (build.state == BuildState::running) running = build.id;
    if (build.state == BuildState::queued) queued = build.id;
  }
  if (running && !has_begun_to_fetch(impl_->database, *running)) return {*running, false};
  if (!running && queued) return {*queued, false};
  if (running && queued) return {*running, false, queued};
  const std::int64_t id = insert(impl_->database, trigger);
  transaction.commit();
  if (running) return {*running, false, id};
  return {id, true};
}

std::vector<protocol::Build> History::queued() {
  return queued_before(std::numeric_limits<std::int64_t>::max());
}

bool History::cancel(std::int64_t id) {
  Transaction transaction(impl_->database, Transaction::Durability::durable);
  Statement statement = impl_->database.prepare(
      "UPDATE builds SET state = 'cancelled', error = ?2 "
      "WHERE id = ?1 AND state IN ('queued', 'running')");
  statement.bind(id).bind(std::string_view(reason_cancelled)).run();
  const bool is_changed = impl_->database.changed_rows() > 0;
  transaction.commit();
  return is_changed;
}

bool History::finish_cancelled(const std::string& repository) {
  Transaction transaction(impl_->database);
  bool found = false;
  for (const protocol::Build& build : unfinished_builds(impl_->database, repository)) {
    if (build.state != BuildState::cancelled) continue;
    end_build(impl_->database, build.id, build.error, now());
    found = true;
  }
  transaction.commit();
  return found;
}

std::int64_t History::take_queued(const Trigger& trigger) {
  Transaction transaction(impl_->database);
  std::optional<std::int64_t> queued;
  for (const protocol::Build& build : unfinished_builds(impl_->database, trigger.repository)) {
    if (build.state == BuildState::running) {
      end_build(impl_->database, build.id, reason_interrupted, now());
    } else if (build.state == BuildState::queued && !queued) {
      queued = build.id;
    }
  }
  if (queued) {
    // Another queued build may already have that branch.
    Statement branch =
        impl_->database.prepare("UPDATE OR IGNORE builds SET branch = ?2 WHERE id = ?1");
    branch.bind(*queued).bind(std::string_view(trigger.branch ? *trigger.branch : std::string()));
    branch.run();
  } else {
    queued = insert(impl_->database, trigger);
  }
  transaction.commit();
  return *queued;
}

std::vector<protocol::Build> History::queued_before(std::int64_t id) {
  Statement statement = impl_->database.prepare(std::string(build_columns) +
                                                "WHERE id < ?1 AND state = 'queued' ORDER BY id");
  statement.bind(id);
  return builds_of(std::move(statement));
}

void History::set_running(std::int64_t id, protocol::Time start) {
  Transaction transaction(impl_->database);
  Statement statement = impl_->database.prepare(
      "UPDATE builds SET state = 'running', start = ?2 WHERE id = ?1 AND state = 'queued'");
  statement.bind(id).bind(start).run();
  if (impl_->database.changed_rows() == 0) {
    throw HistoryError(fmt::format("build {} is no longer queued", id));
  }
  transaction.commit();
}

void History::set_commit(std::int64_t id, const std::string& commit, const std::string& subject,
                         const std::string& author) {
  Transaction transaction(impl_->database);
  Statement statement = impl_->database.prepare(
      "UPDATE builds SET commit_id = ?2, commit_subject = ?3, commit_author = ?4 WHERE id = ?1");
  statement.bind(id)
      .bind(std::string_view(commit))
      .bind(std::string_view(shortened(subject, commit_text_limit)))
      .bind(std::string_view(shortened(author, commit_text_limit)))
      .run();
  transaction.commit();
}

void History::set_source(std::int64_t id, const std::string& url,
                         const std::optional<std::string>& branch) {
  Transaction transaction(impl_->database);
  Statement statement =
      impl_->database.prepare("UPDATE builds SET url = ?2, branch = ?3 WHERE id = ?1");
  statement.bind(id)
      .bind(std::string_view(url))
      .bind(std::string_view(branch ? *branch : std::string()))
      .run();
  transaction.commit();
}

void History::begin_phase(std::int64_t id, const std::string& name, protocol::Time start) {
  Transaction transaction(impl_->database);
  Statement end = impl_->database.prepare(
      "UPDATE phases SET finish = max(?2, start) WHERE build = ?1 AND finish IS NULL");
  end.bind(id).bind(start).run();
  Statement begin = impl_->database.prepare(
      "INSERT INTO phases (build, position, name, start) "
      "SELECT ?1, (SELECT count(*) FROM phases WHERE build = ?1), ?2, ?3");
  begin.bind(id).bind(std::string_view(name)).bind(start).run();
  transaction.commit();
}

void History::set_lock(std::int64_t id, const std::string& flake_lock) {
  Transaction transaction(impl_->database);
  Statement statement = impl_->database.prepare("UPDATE builds SET flake_lock = ?2 WHERE id = ?1");
  statement.bind(id).bind(std::string_view(flake_lock)).run();
  transaction.commit();
}

void History::set_targets(std::int64_t id, const std::vector<protocol::Target>& targets) {
  Transaction transaction(impl_->database);
  impl_->database.prepare("DELETE FROM targets WHERE build = ?1").bind(id).run();
  const std::size_t allowance = text_allowance(targets);
  std::int64_t position = 0;
  for (const protocol::Target& target : targets) {
    const KeptText kept = kept_text(target, allowance);
    impl_->database
        .prepare(
            "INSERT INTO targets (build, position, name, result, derivation, error, log_tail) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
        .bind(id)
        .bind(position)
        .bind(std::string_view(target.name))
        .bind(protocol::name_of(target.result))
        .bind(std::string_view(target.derivation))
        .bind(std::string_view(kept.error))
        .bind(std::string_view(kept.log_tail))
        .run();
    std::int64_t output_position = 0;
    for (const protocol::Output& output : target.outputs) {
      impl_->database
          .prepare(
              "INSERT INTO outputs (build, target, position, name, path, nar_size) "
              "VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
          .bind(id)
          .bind(position)
          .bind(output_position++)
          .bind(std::string_view(output.name))
          .bind(std::string_view(output.path))
          .bind(static_cast<std::int64_t>(output.nar_size))
          .run();
    }
    ++position;
  }
  transaction.commit();
}

void History::add_derivations(std::int64_t id,
                              const std::vector<protocol::DerivationTime>& derivations) {
  Transaction transaction(impl_->database);
  Statement count = impl_->database.prepare("SELECT count(*) FROM derivations WHERE build = ?");
  count.bind(id);
  std::int64_t position = count.step() ? count.integer(0) : 0;
  for (const protocol::DerivationTime& derivation : derivations) {
    impl_->database
        .prepare(
            "INSERT INTO derivations (build, position, derivation, name, start, milliseconds, "
            "failed) VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(id)
        .bind(position++)
        .bind(std::string_view(derivation.derivation))
        .bind(std::string_view(derivation.name))
        .bind(derivation.start)
        .bind(static_cast<std::int64_t>(derivation.milliseconds))
        .bind(static_cast<std::int64_t>(derivation.failed))
        .run();
  }
  transaction.commit();
}

void History::finish(std::int64_t id, const std::optional<std::string>& error,
                     protocol::Time finish) {
  Transaction transaction(impl_->database, Transaction::Durability::durable);
  end_build(impl_->database, id, error, finish);
  transaction.commit();
}

std::vector<std::int64_t> History::prune(const std::string& repository, int keep) {
  Transaction transaction(impl_->database);
  // Cancelled builds are counted separately: a hundred of them must not push out real builds.
  Statement select = impl_->database.prepare(
      "SELECT id FROM (SELECT id, row_number() OVER "
      "(PARTITION BY state = 'cancelled' ORDER BY id DESC) AS age "
      "FROM builds WHERE repository = ?1 AND finish IS NOT NULL) "
      "WHERE age > ?2 AND id NOT IN (SELECT max(build) FROM targets JOIN builds ON build = id "
      "WHERE repository = ?1 AND result = 'success' GROUP BY branch, name) ORDER BY id DESC");
  select.bind(std::string_view(repository)).bind(static_cast<std::int64_t>(keep));
  std::vector<std::int64_t> removed;
  while (select.step())
    removed.push_back(select.integer(0));
  select.reset();
  for (const std::int64_t id : removed) {
    impl_->database.prepare("DELETE FROM builds WHERE id = ?1").bind(id).run();
  }
  transaction.commit();
  return removed;
}

std::optional<protocol::Build> History::get(std::int64_t id) {
  Statement statement = impl_->database.prepare(std::string(build_columns) + "WHERE id = ?1");
  statement.bind(id);
  // The statement, and so the read transaction, stays open to the end, for a consistent view.
  if (!statement.step()) return std::nullopt;
  protocol::Build build = build_of(statement);
  build.phases = phases_of(impl_->database, id);
  build.targets = targets_of(impl_->database, id);
  build.derivations = derivations_of(impl_->database, id);
  return build;
}

std::optional<protocol::Build> History::current(const std::string& repository) {
  Statement statement = impl_->database.prepare(
      std::string(build_columns) +
      "WHERE id = coalesce("
      "(SELECT min(id) FROM builds WHERE repository = ?1 AND state = 'running'), "
      "(SELECT min(id) FROM builds WHERE repository = ?1 AND state = 'queued'), "
      "(SELECT max(id) FROM builds WHERE repository = ?1))");
  statement.bind(std::string_view(repository));
  if (!statement.step()) return std::nullopt;
  return build_of(statement);
}

protocol::BuildList History::list(const BuildFilter& filter, int limit,
                                  std::optional<std::int64_t> before) {
  std::string sql(build_columns);
  std::vector<std::string_view> texts;
  const auto require = [&](const char* condition, const std::string& text) {
    if (text.empty()) return;
    sql += condition;
    texts.push_back(text);
  };
  sql += "WHERE id < ?";
  require(" AND repository = ?", filter.repository);
  if (filter.target.empty()) {
    require(" AND state = ?", filter.result);
  } else {
    sql += " AND EXISTS (SELECT 1 FROM targets WHERE build = builds.id";
    require(" AND targets.name = ?", filter.target);
    require(" AND targets.result = ?", filter.result);
    sql += ")";
  }
  Statement statement = impl_->database.prepare(sql + " ORDER BY id DESC LIMIT ?");
  statement.bind(before.value_or(std::numeric_limits<std::int64_t>::max()));
  for (const std::string_view text : texts)
    statement.bind(text);
  statement.bind(static_cast<std::int64_t>(limit) + 1);
  protocol::BuildList list;
  std::size_t size = 0;
  while (statement.step()) {
    protocol::Build build = build_of(statement);
    size += text_size(build);
    const bool is_full = list.builds.size() == static_cast<std::size_t>(limit) ||
                         (size > list_text_limit && !list.builds.empty());
    if (is_full) {
      if (!list.builds.empty()) list.next_before = list.builds.back().id;
      break;
    }
    list.builds.push_back(std::move(build));
  }
  return list;
}

std::vector<BuildTargets> History::targets_since(const std::string& repository,
                                                 std::int64_t first) {
  Statement statement = impl_->database.prepare(
      "SELECT builds.id, targets.position, targets.name, result, path, branch FROM builds "
      "LEFT JOIN targets ON targets.build = builds.id "
      "LEFT JOIN outputs ON outputs.build = builds.id AND outputs.target = targets.position "
      "WHERE repository = ?1 AND builds.id >= ?2 "
      "ORDER BY builds.id DESC, targets.position, outputs.position");
  statement.bind(std::string_view(repository)).bind(first);
  std::vector<BuildTargets> builds;
  constexpr std::int64_t no_position = -1;
  std::int64_t position = no_position;
  while (statement.step()) {
    const std::int64_t id = statement.integer(0);
    if (builds.empty() || builds.back().id != id) {
      builds.push_back({id, statement.text(5), {}});
      position = no_position;
    }
    const auto name = statement.optional_text(2);
    if (!name) continue;
    auto& targets = builds.back().targets;
    if (position != statement.integer(1)) {
      position = statement.integer(1);
      protocol::Target& target = targets.emplace_back();
      target.name = *name;
      target.result = protocol::value_of<TargetResult>(statement.view(3));
    }
    if (auto path = statement.optional_text(4)) {
      targets.back().outputs.push_back({"", std::move(*path), 0});
    }
  }
  return builds;
}

std::optional<std::string> History::lock_text(std::int64_t id) {
  Statement statement = impl_->database.prepare("SELECT flake_lock FROM builds WHERE id = ?1");
  statement.bind(id);
  if (!statement.step()) return std::nullopt;
  return statement.optional_text(0);
}

std::optional<protocol::BuildRecord> History::record(std::int64_t id) {
  Statement statement = impl_->database.prepare(
      "SELECT url, flake_lock FROM builds WHERE id = ?1 AND finish NOT NULL");
  statement.bind(id);
  // The statement, and so the read transaction, stays open to the end, for a consistent view.
  if (!statement.step()) return std::nullopt;
  const auto build = get(id);
  if (!build || !build->commit || !build->finish || statement.view(0).empty()) return std::nullopt;
  protocol::BuildRecord record;
  record.history = this->id();
  record.build = id;
  record.repository = build->repository;
  record.url = statement.text(0);
  record.branch = build->branch;
  record.state = build->state;
  record.commit = *build->commit;
  if (!statement.is_null(1)) record.lock_sha256 = nix::sha256(statement.view(1)).base16();
  record.finish = *build->finish;
  for (const protocol::Target& target : build->targets) {
    if (target.result != TargetResult::success || target.outputs.empty()) continue;
    protocol::RecordedTarget recorded{target.name, target.derivation, {}};
    for (const protocol::Output& output : target.outputs)
      recorded.outputs.push_back({output.name, output.path});
    record.targets.push_back(std::move(recorded));
  }
  return record;
}

std::vector<std::string> History::output_paths(std::int64_t id) {
  Statement statement = impl_->database.prepare(
      "SELECT DISTINCT path FROM outputs JOIN targets ON outputs.build = targets.build "
      "AND target = targets.position WHERE outputs.build = ?1 AND result = 'success' "
      "ORDER BY path");
  statement.bind(id);
  std::vector<std::string> paths;
  while (statement.step())
    paths.push_back(statement.text(0));
  return paths;
}

std::string History::id() {
  return impl_->database.query_text("SELECT value FROM meta WHERE name = 'history_id'");
}

std::uint64_t History::generation() {
  // data_version shows changes by other connections, total_changes our own.
  const sqlite::StatementUse use(impl_->data_version);
  impl_->data_version.step();
  const auto version = static_cast<std::uint64_t>(impl_->data_version.integer(0));
  return (version << 32) + static_cast<std::uint32_t>(impl_->database.total_changes());
}

bool History::reconcile(const std::string& repository, const std::function<bool()>& is_locked,
                        const std::function<protocol::Time(std::int64_t id)>& last_sign) {
  Transaction transaction(impl_->database, Transaction::Durability::durable);
  const auto builds = unfinished_builds(impl_->database, repository);
  if (builds.empty() || is_locked()) return false;
  bool is_changed = false;
  for (const protocol::Build& build : builds) {
    if (build.state == BuildState::queued) continue;
    end_build(impl_->database, build.id,
              build.state == BuildState::running ? reason_interrupted : build.error,
              last_sign(build.id));
    is_changed = true;
  }
  if (is_changed) transaction.commit();
  return is_changed;
}

}  // namespace nixbuild::history
