#include "server/history/history.hpp"

#include <fmt/format.h>

#include <limits>
#include <string_view>

#include "common/base/time.hpp"
#include "server/history/database.hpp"

namespace nixbuild::history {
namespace {

constexpr std::string_view build_columns =
    "SELECT id, repository, state, triggered_by, triggered_from, queued_at, start, finish, "
    "commit_id, commit_subject, commit_author, error, flake_lock IS NOT NULL FROM builds ";

protocol::Build build_of(const Statement& row) {
  protocol::Build build;
  build.id = row.integer(0);
  build.repository = row.text(1);
  build.state = row.text(2);
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
  return build;
}

std::vector<protocol::Build> builds_of(Statement statement) {
  std::vector<protocol::Build> builds;
  while (statement.step())
    builds.push_back(build_of(statement));
  return builds;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) {
    text += line;
    text += '\n';
  }
  return text;
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

std::vector<protocol::Phase> phases_of(Database& database, std::int64_t id) {
  Statement statement =
      database.prepare("SELECT name, start, finish FROM phases WHERE build = ?1 ORDER BY position");
  statement.bind(id);
  std::vector<protocol::Phase> phases;
  while (statement.step()) {
    phases.push_back({statement.text(0), statement.time(1), statement.optional_time(2)});
  }
  return phases;
}

std::vector<protocol::Target> targets_of(Database& database, std::int64_t id) {
  Statement statement = database.prepare(
      "SELECT name, result, derivation, error, log_tail FROM targets WHERE build = ?1 "
      "ORDER BY position");
  statement.bind(id);
  std::vector<protocol::Target> targets;
  while (statement.step()) {
    protocol::Target target;
    target.name = statement.text(0);
    target.result = statement.text(1);
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

std::vector<protocol::DerivationTime> derivations_of(Database& database, std::int64_t id) {
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

// To be called inside a transaction.
void end_build(Database& database, std::int64_t id, const std::optional<std::string>& error,
               protocol::Time finish) {
  Statement statement = database.prepare(
      "UPDATE builds SET state = ?2, error = ?3, finish = max(?4, coalesce(start, queued_at)) "
      "WHERE id = ?1 AND state IN ('queued', 'running')");
  statement.bind(id).bind(std::string_view(error ? "failed" : "success")).bind(error).bind(finish);
  statement.run();
  if (database.changed_rows() == 0) return;
  Statement phases = database.prepare(
      "UPDATE phases SET finish = max(?2, start) WHERE build = ?1 AND finish IS NULL");
  phases.bind(id).bind(finish).run();
  if (!error) return;
  // A target that was not reached must not read as if it were still to come.
  Statement targets = database.prepare(
      "UPDATE targets SET result = 'failed', error = ?2 WHERE build = ?1 AND result = 'pending'");
  targets.bind(id).bind(error).run();
}

std::optional<protocol::Build> active_build(Database& database, const std::string& repository) {
  Statement statement = database.prepare(
      std::string(build_columns) + "WHERE repository = ?1 AND state IN ('queued', 'running')");
  statement.bind(std::string_view(repository));
  if (!statement.step()) return std::nullopt;
  return build_of(statement);
}

std::int64_t insert(Database& database, const Trigger& trigger) {
  Statement statement = database.prepare(
      "INSERT INTO builds (repository, state, triggered_by, triggered_from, queued_at) "
      "VALUES (?1, 'queued', ?2, ?3, ?4)");
  statement.bind(std::string_view(trigger.repository))
      .bind(std::string_view(trigger.by))
      .bind(std::string_view(trigger.from))
      .bind(now())
      .run();
  return database.last_id();
}

}  // namespace

class History::Impl {
 public:
  explicit Impl(const std::filesystem::path& file) : database(file) {}
  Database database;
};

History::History(const std::filesystem::path& file) : impl_(std::make_unique<Impl>(file)) {}
History::~History() = default;
History::History(History&&) noexcept = default;
History& History::operator=(History&&) noexcept = default;

History::Queued History::insert_queued(const Trigger& trigger) {
  Transaction transaction(impl_->database, Transaction::Durability::durable);
  if (const auto active = active_build(impl_->database, trigger.repository)) {
    return {active->id, false};
  }
  const std::int64_t id = insert(impl_->database, trigger);
  transaction.commit();
  return {id, true};
}

std::int64_t History::take_queued(const Trigger& trigger) {
  Transaction transaction(impl_->database);
  auto active = active_build(impl_->database, trigger.repository);
  if (active && active->state == "running") {
    end_build(impl_->database, active->id, reason_interrupted, now());
    active.reset();
  }
  const std::int64_t id = active ? active->id : insert(impl_->database, trigger);
  transaction.commit();
  return id;
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
      .bind(std::string_view(subject))
      .bind(std::string_view(author))
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
  std::int64_t position = 0;
  for (const protocol::Target& target : targets) {
    impl_->database
        .prepare(
            "INSERT INTO targets (build, position, name, result, derivation, error, log_tail) "
            "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
        .bind(id)
        .bind(position)
        .bind(std::string_view(target.name))
        .bind(std::string_view(target.result))
        .bind(std::string_view(target.derivation))
        .bind(std::string_view(target.error))
        .bind(std::string_view(joined(target.log_tail)))
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
  Statement select = impl_->database.prepare(
      "SELECT id FROM builds WHERE repository = ?1 AND state IN ('success', 'failed') "
      "ORDER BY id DESC LIMIT -1 OFFSET ?2");
  select.bind(std::string_view(repository)).bind(static_cast<std::int64_t>(keep));
  std::vector<std::int64_t> removed;
  while (select.step())
    removed.push_back(select.integer(0));
  for (const std::int64_t id : removed) {
    impl_->database.prepare("DELETE FROM builds WHERE id = ?1").bind(id).run();
  }
  transaction.commit();
  return removed;
}

std::optional<protocol::Build> History::get(std::int64_t id) {
  Statement statement = impl_->database.prepare(std::string(build_columns) + "WHERE id = ?1");
  statement.bind(id);
  // The statement stays open to the end, and with it the read transaction: one moment's view.
  if (!statement.step()) return std::nullopt;
  protocol::Build build = build_of(statement);
  build.phases = phases_of(impl_->database, id);
  build.targets = targets_of(impl_->database, id);
  build.derivations = derivations_of(impl_->database, id);
  return build;
}

std::optional<protocol::Build> History::newest(const std::string& repository) {
  Statement statement = impl_->database.prepare(std::string(build_columns) +
                                                "WHERE repository = ?1 ORDER BY id DESC LIMIT 1");
  statement.bind(std::string_view(repository));
  if (!statement.step()) return std::nullopt;
  return build_of(statement);
}

protocol::BuildList History::list(const std::string& repository, int limit,
                                  std::optional<std::int64_t> before) {
  Statement statement = impl_->database.prepare(
      std::string(build_columns) +
      (repository.empty() ? "WHERE ?1 = '' AND id < ?2 ORDER BY id DESC LIMIT ?3"
                          : "WHERE repository = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"));
  statement.bind(std::string_view(repository))
      .bind(before.value_or(std::numeric_limits<std::int64_t>::max()))
      .bind(static_cast<std::int64_t>(limit) + 1);
  protocol::BuildList list;
  list.builds = builds_of(std::move(statement));
  if (list.builds.size() > static_cast<std::size_t>(limit)) {
    list.builds.pop_back();
    if (!list.builds.empty()) list.next_before = list.builds.back().id;
  }
  return list;
}

std::optional<std::string> History::lock_text(std::int64_t id) {
  Statement statement = impl_->database.prepare("SELECT flake_lock FROM builds WHERE id = ?1");
  statement.bind(id);
  if (!statement.step()) return std::nullopt;
  return statement.optional_text(0);
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

std::uint64_t History::generation() {
  return impl_->database.generation();
}

bool History::reconcile(const std::string& repository, const std::function<bool()>& is_locked,
                        std::chrono::seconds patience,
                        const std::function<protocol::Time(std::int64_t id)>& last_sign) {
  Transaction transaction(impl_->database, Transaction::Durability::durable);
  const auto active = active_build(impl_->database, repository);
  if (!active || is_locked()) return false;
  if (active->state == "running") {
    end_build(impl_->database, active->id, reason_interrupted, last_sign(active->id));
  } else {
    if (is_within(active->queued_at, patience)) return false;
    end_build(impl_->database, active->id, reason_not_started, now());
  }
  transaction.commit();
  return true;
}

}  // namespace nixbuild::history
