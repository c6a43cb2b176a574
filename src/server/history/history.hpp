// The history of builds, and the queue: one row a build, in SQLite.
//
// A repository has at most one row that is queued or running; the database itself sees to that, so
// it holds however many clients ask at once. Who runs a build holds the repository's BuildLock; a
// row that says `running` while nobody holds that lock was interrupted (see reconcile).
//
// Every function throws HistoryError when the database cannot be read or written: it is locked for
// longer than 5 s, the disk is full, or it is not of a form this program knows.
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

namespace nixbuild::history {

class HistoryError : public Error {
 public:
  using Error::Error;
};

// The disk is full: the history is well, and can be used again once there is space.
class HistoryFull : public HistoryError {
 public:
  using HistoryError::HistoryError;
};

// Why what nothing runs has failed, as the history has it.
constexpr const char* reason_interrupted = "interrupted";
constexpr const char* reason_not_started = "the build was not started";

// Who asked for a build.
struct Trigger {
  std::string repository;
  std::string by;    // a user's or node's name, empty when unknown
  std::string from;  // an address, or "command line"
};

// Not thread-safe; open one for each thread.
class History {
 public:
  // Makes the database, for owner and group, where there is none; brings an older one up to date.
  explicit History(const std::filesystem::path& file);
  ~History();
  History(History&&) noexcept;
  History& operator=(History&&) noexcept;

  // Queuing, for those who trigger builds.
  struct Queued {
    std::int64_t id = 0;
    bool inserted = false;  // false: `id` is the build that was queued or running already
  };
  Queued insert_queued(const Trigger& trigger);

  // Running, for the holder of the repository's lock.

  // The repository's queued build, or a new one as `trigger` says when none is queued. A row that
  // says `running` is ended as 'interrupted' first.
  std::int64_t take_queued(const Trigger& trigger);
  // Builds that were queued before build `id` and still are, oldest first.
  std::vector<protocol::Build> queued_before(std::int64_t id);
  void set_running(std::int64_t id, protocol::Time start);
  void set_commit(std::int64_t id, const std::string& commit, const std::string& subject,
                  const std::string& author);
  // Ends the phase that was, and begins `name`.
  void begin_phase(std::int64_t id, const std::string& name, protocol::Time start);
  void set_lock(std::int64_t id, const std::string& flake_lock);
  // Replaces the targets.
  void set_targets(std::int64_t id, const std::vector<protocol::Target>& targets);
  void add_derivations(std::int64_t id, const std::vector<protocol::DerivationTime>& derivations);
  // Success where `error` is nothing. Ends the last phase. On the disk when it returns. A build
  // that has ended stays as it ended.
  void finish(std::int64_t id, const std::optional<std::string>& error, protocol::Time finish);
  // Removes the oldest ended builds of a repository until `keep` are left; returns their numbers.
  std::vector<std::int64_t> prune(const std::string& repository, int keep);

  // Reading, for everyone.

  std::optional<protocol::Build> get(std::int64_t id);
  // Without phases, targets and derivations.
  std::optional<protocol::Build> newest(const std::string& repository);
  // Newest first, at most `limit`, numbers below `before`; without phases, targets and derivations.
  // An empty `repository` means all.
  protocol::BuildList list(const std::string& repository, int limit,
                           std::optional<std::int64_t> before);
  std::optional<std::string> lock_text(std::int64_t id);
  // Store paths of the good targets' outputs, sorted, each once.
  std::vector<std::string> output_paths(std::int64_t id);

  // Changes whenever someone has changed the history: cheap enough to ask before every answer from
  // memory.
  std::uint64_t generation();

  // Ends what says `running` or `queued` of `repository` though nothing runs it. `is_locked` tells
  // whether the repository's lock is held and is asked inside the transaction, so that no build is
  // taken for dead that starts meanwhile. A queued build is given `patience` to be started.
  // `last_sign` is when an interrupted build was last seen alive. True where a row was changed.
  bool reconcile(const std::string& repository, const std::function<bool()>& is_locked,
                 std::chrono::seconds patience,
                 const std::function<protocol::Time(std::int64_t id)>& last_sign);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nixbuild::history
