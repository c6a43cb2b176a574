// The history and queue of builds: one row per build, in SQLite.
//
// A branch has at most one queued row and one running row; the database itself enforces this. The
// process that runs a build holds the repository's FileLock; if a row says `running` but the lock
// is free, the build was interrupted (see reconcile).
//
// A build that is triggered while another of the branch runs follows it: it stays queued until that
// one has ended, and whoever ran that one takes it next.
//
// A cancelled build immediately becomes `cancelled`. It has no finish time until its process has
// ended and its end has been recorded.
//
// Every function throws SqliteError if the database cannot be read or written: it is locked for
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

// Exceptions of the database.
using sqlite::DiskFull;
using sqlite::SqliteError;

// The file is not a history, or is from a newer program; or a build is not in the state that an
// operation requires.
class HistoryError : public Error {
 public:
  using Error::Error;
};

// Errors of builds.
constexpr const char* reason_cancelled = "cancelled";
constexpr const char* reason_interrupted = "interrupted";

// Who requested a build.
struct Trigger {
  std::string repository;
  std::string by;                                    // a user's or node's name, empty if unknown
  std::string from;                                  // an address, or "command line"
  std::optional<std::string> branch = std::nullopt;  // as configured
};

// The result of each target in a build; without reasons, logs and sizes.
struct BuildTargets {
  std::int64_t id = 0;
  std::string branch;  // empty if unknown, or the remote's default
  std::vector<protocol::Target> targets;
};

enum class Access { read_write, read_only };

// Which builds to list; an empty member means all.
struct BuildFilter {
  std::string repository;
  std::string target;  // builds that have this target
  std::string result;  // in which the target has this result; without a target: of this state
};

// Not thread-safe; open one for each thread.
class History {
 public:
  // Opens the database. Creates it, for owner and group, if it is missing; migrates an older one.
  // With Access::read_only, does neither, and only reading functions may be called. Throws
  // HistoryError.
  explicit History(const std::filesystem::path& file, Access access = Access::read_write);
  ~History();
  History(History&&) noexcept;
  History& operator=(History&&) noexcept;

  // 128 random bits in hexadecimal, created with the history. Distinguishes it from another
  // history, whose builds have the same numbers.
  std::string id();

  // Queuing, for processes that trigger builds.

  struct Queued {
    std::int64_t id = 0;
    bool inserted = false;  // if false, `id` is the build that was already queued or running
    // The build that follows build `id`, which runs and had begun to fetch before.
    std::optional<std::int64_t> follow_up = std::nullopt;
  };
  // A trigger joins a build that has not begun to fetch. If the repository's build has, it queues
  // one that follows, unless there is one.
  Queued insert_queued(const Trigger& trigger);
  // All queued builds, oldest first.
  std::vector<protocol::Build> queued();
  // Marks a queued or running build as cancelled. The caller must stop its process, and finish()
  // must still record its end. False if the build has already ended or been cancelled.
  bool cancel(std::int64_t id);

  // Running, for the holder of the repository's lock.

  // Records the end of the repository's cancelled builds if their processes did not. Returns
  // whether there were any.
  bool finish_cancelled(const std::string& repository);
  // The repository's oldest queued build, or a new one from `trigger` if none is queued. First ends
  // a `running` row as interrupted. The build gets the trigger's branch.
  std::int64_t take_queued(const Trigger& trigger);
  // Builds that were queued before build `id` and still are, oldest first.
  std::vector<protocol::Build> queued_before(std::int64_t id);
  void set_running(std::int64_t id, protocol::Time start);
  void set_commit(std::int64_t id, const std::string& commit, const std::string& subject,
                  const std::string& author);
  // The source of the commit: the URL without credentials, and the branch, or nothing for the
  // remote's HEAD.
  void set_source(std::int64_t id, const std::string& url,
                  const std::optional<std::string>& branch);
  // Ends the current phase, and begins `name`.
  void begin_phase(std::int64_t id, const std::string& name, protocol::Time start);
  void set_lock(std::int64_t id, const std::string& flake_lock);
  // Replaces the targets. Long texts are truncated (kept_text.hpp).
  void set_targets(std::int64_t id, const std::vector<protocol::Target>& targets);
  void add_derivations(std::int64_t id, const std::vector<protocol::DerivationTime>& derivations);
  // Ends a build: it is a success if there is no `error`, and cancelled if the error is
  // reason_cancelled or the build was cancelled before. Ends its last phase, and its pending
  // targets with the same error. The data is on disk when it returns. Does not change a build that
  // has already ended.
  void finish(std::int64_t id, const std::optional<std::string>& error, protocol::Time finish);
  // Removes old builds of a repository; returns their numbers. Keeps the newest `keep` builds that
  // were not cancelled, the newest `keep` that were, and for each target of a branch the newest
  // build in which it succeeded.
  std::vector<std::int64_t> prune(const std::string& repository, int keep);

  // Reading, for all processes.

  std::optional<protocol::Build> get(std::int64_t id);
  // The repository's build as of now: the one that runs, else the one that is queued, else the
  // newest. Without phases, targets and derivations.
  std::optional<protocol::Build> current(const std::string& repository);
  // Newest first, at most `limit`, numbers below `before`; without phases, targets and derivations.
  protocol::BuildList list(const BuildFilter& filter, int limit,
                           std::optional<std::int64_t> before);
  // A repository's builds with numbers from `first`, newest first, with their targets.
  std::vector<BuildTargets> targets_since(const std::string& repository, std::int64_t first);
  std::optional<std::string> lock_text(std::int64_t id);
  // The record to be signed for a build that has ended (common/protocol/record.hpp), without the
  // server's name. Nothing for a build that has not ended, had no commit, or was made by an earlier
  // release.
  std::optional<protocol::BuildRecord> record(std::int64_t id);
  // Store paths of the successful targets' outputs, sorted, without duplicates.
  std::vector<std::string> output_paths(std::int64_t id);

  // Changes whenever any process has changed the history. Cheap enough to check before every answer
  // from memory.
  std::uint64_t generation();

  // Ends the running and cancelled builds of `repository` that no process is running; queued ones
  // stay queued. `is_locked` returns whether the repository's lock is held; it is called inside the
  // transaction, so that a build that starts meanwhile is not mistaken for dead. `last_sign` is
  // when an interrupted build was last seen alive. Returns whether a row was changed.
  bool reconcile(const std::string& repository, const std::function<bool()>& is_locked,
                 const std::function<protocol::Time(std::int64_t id)>& last_sign);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nixbuild::history
