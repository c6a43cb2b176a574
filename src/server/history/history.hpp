// The history of builds, and the queue: one row a build, in SQLite.
//
// A branch has at most one row that is queued and one that is running; the database itself sees to
// that. Whoever runs a build holds the repository's FileLock; a row that says `running` while
// nobody holds it was interrupted (see reconcile).
//
// A cancelled build says `cancelled` at once. Until its process is gone and its end is written
// down, it has no finish time.
//
// Every function throws SqliteError when the database cannot be read or written: it is locked for
// longer than 5 s, damaged, or the disk is full (DiskFull).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "common/protocol/types.hpp"
#include "server/sqlite/sqlite.hpp"

namespace nixbuild::history {

// What the database throws.
using sqlite::DiskFull;
using sqlite::SqliteError;

// What is no history, or one of a newer program; or a build that is not in the state that an
// operation needs.
class HistoryError : public Error {
 public:
  using Error::Error;
};

// Errors of builds.
constexpr const char* reason_cancelled = "cancelled";
constexpr const char* reason_interrupted = "interrupted";
constexpr const char* reason_not_started = "the build was not started";

// Who asked for a build.
struct Trigger {
  std::string repository;
  std::string by;                                    // a user's or node's name, empty when unknown
  std::string from;                                  // an address, or "command line"
  std::optional<std::string> branch = std::nullopt;  // as configured
};

// What a build made of each target; without reasons, logs and sizes.
struct BuildTargets {
  std::int64_t id = 0;
  std::string branch;  // empty: unknown, or the remote's default
  std::vector<protocol::Target> targets;
};

enum class Access { read_write, read_only };

// Not thread-safe; open one for each thread.
class History {
 public:
  // Opens the database. Creates it, for owner and group, if it is missing; migrates an older one.
  // With Access::read_only does neither, and only what reads can be called. Throws HistoryError.
  explicit History(const std::filesystem::path& file, Access access = Access::read_write);
  ~History();
  History(History&&) noexcept;
  History& operator=(History&&) noexcept;

  // 128 random bits in hexadecimal, made with the history: tells it from another one, whose builds
  // have the same numbers.
  std::string id();

  // Queuing, for those who trigger builds.

  struct Queued {
    std::int64_t id = 0;
    bool inserted = false;  // false: `id` is the build that was queued or running already
  };
  Queued insert_queued(const Trigger& trigger);
  // Marks a queued or running build as cancelled; its process is the caller's business, and its end
  // is still to be written down by finish(). False for a build that has ended or is cancelled.
  bool cancel(std::int64_t id);

  // Running, for the holder of the repository's lock.

  // Writes down the end of the repository's cancelled builds whose process did not. Returns whether
  // there were any.
  bool finish_cancelled(const std::string& repository);
  // The repository's oldest queued build, or a new one as `trigger` says when none is queued. A row
  // that says `running` is ended as interrupted first. The build gets the trigger's branch.
  std::int64_t take_queued(const Trigger& trigger);
  // Builds that were queued before build `id` and still are, oldest first.
  std::vector<protocol::Build> queued_before(std::int64_t id);
  void set_running(std::int64_t id, protocol::Time start);
  void set_commit(std::int64_t id, const std::string& commit, const std::string& subject,
                  const std::string& author);
  // Where the commit was fetched from: the URL without credentials, and the branch; nothing: the
  // remote's HEAD.
  void set_source(std::int64_t id, const std::string& url,
                  const std::optional<std::string>& branch);
  // Ends the phase that was, and begins `name`.
  void begin_phase(std::int64_t id, const std::string& name, protocol::Time start);
  void set_lock(std::int64_t id, const std::string& flake_lock);
  // Replaces the targets. Of long texts a part is kept (kept_text.hpp).
  void set_targets(std::int64_t id, const std::vector<protocol::Target>& targets);
  void add_derivations(std::int64_t id, const std::vector<protocol::DerivationTime>& derivations);
  // Ends a build: a success if there is no `error`, cancelled if the error is reason_cancelled or
  // the build was cancelled before. Ends its last phase, and its pending targets with the same
  // error. On the disk when it returns. A build that has ended stays as it ended.
  void finish(std::int64_t id, const std::optional<std::string>& error, protocol::Time finish);
  // Removes old builds of a repository; returns their numbers. The newest `keep` that ended by
  // themselves stay, the newest `keep` that were cancelled, and for each target of a branch the
  // newest build in which it succeeded.
  std::vector<std::int64_t> prune(const std::string& repository, int keep);

  // Reading, for everyone.

  std::optional<protocol::Build> get(std::int64_t id);
  // Without phases, targets and derivations.
  std::optional<protocol::Build> newest(const std::string& repository);
  // Newest first, at most `limit`, numbers below `before`; without phases, targets and derivations.
  // An empty `repository` means all.
  protocol::BuildList list(const std::string& repository, int limit,
                           std::optional<std::int64_t> before);
  // A repository's builds from number `first` on, newest first, with their targets.
  std::vector<BuildTargets> targets_since(const std::string& repository, std::int64_t first);
  std::optional<std::string> lock_text(std::int64_t id);
  // What is signed of a build that has ended (common/protocol/record.hpp), without the server's
  // name. Nothing for a build that has not ended, had no commit, or was made by an earlier release.
  std::optional<protocol::BuildRecord> record(std::int64_t id);
  // Store paths of the good targets' outputs, sorted, each once.
  std::vector<std::string> output_paths(std::int64_t id);

  // Changes whenever someone has changed the history: cheap enough to ask before every answer from
  // memory.
  std::uint64_t generation();

  // Ends the unfinished builds of `repository` that nothing runs. `is_locked` tells whether the
  // repository's lock is held and is asked inside the transaction, so that no build is taken for
  // dead that starts meanwhile. A queued build is given `patience` to be started, since it was
  // queued or the build before it ended. `last_sign` is when an interrupted build was last seen
  // alive. Returns whether a row was changed.
  bool reconcile(const std::string& repository, const std::function<bool()>& is_locked,
                 std::chrono::seconds patience,
                 const std::function<protocol::Time(std::int64_t id)>& last_sign);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nixbuild::history
