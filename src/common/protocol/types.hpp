// The messages between client and server of the build API. Each struct is one JSON object.
// fields.hpp defines its field names and names.hpp the names of the enumerators; JSON and the
// OpenAPI schemas are generated from both.
//
// Times are UTC in whole seconds, in JSON "YYYY-MM-DDTHH:MM:SSZ". An absent value is null.
//
// `unknown` stands for any name that this program does not know: a newer server may send one.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nixbuild::protocol {

using Time = std::chrono::sys_seconds;

// A field that JSON omits while it has no value, instead of writing null. For fields that were
// added later, as existing clients may compare the object as a whole.
template <typename T>
struct Added : std::optional<T> {
  using std::optional<T>::optional;
  using std::optional<T>::operator=;
};

// The state of a build in the history.
enum class BuildState : std::uint8_t { queued, running, success, failed, cancelled, unknown };

// How the newest build ended, for scripts that know only two words: a cancelled build counts as
// failed.
enum class BuildResult : std::uint8_t { success, failed, unknown };

enum class TargetResult : std::uint8_t {
  pending,
  success,
  failed,
  evaluation_failed,
  skipped,  // excluded from the build; Target::error says why
  unknown,
};

enum class TriggerResult : std::uint8_t { triggered, already_running, unknown };
enum class CancelResult : std::uint8_t { cancelled, not_running, unknown };
enum class HealthState : std::uint8_t { healthy, degraded, unknown };

constexpr bool has_ended(BuildState state) noexcept {
  return state != BuildState::queued && state != BuildState::running;
}

// A derivation that is being built.
struct RunningDerivation {
  std::string derivation;  // store path
  std::string name;        // without hash and ".drv"
  std::string phase;       // of stdenv: "unpackPhase", …; empty if unknown
  Time since;
};

struct Progress {
  std::uint64_t targets = 0;  // found in the repository
  std::uint64_t evaluated = 0;
  std::uint64_t built = 0;
  std::uint64_t to_build = 0;
  std::uint64_t failed = 0;  // derivations
  std::uint64_t copied = 0;  // store paths, from substituters
  std::uint64_t to_copy = 0;
  std::uint64_t bytes_copied = 0;
  std::uint64_t bytes_to_copy = 0;
  std::vector<RunningDerivation> running;
  Added<std::vector<std::string>> failed_names;  // of derivations, the first few
  Added<std::string> activity;                   // git's own progress message during a fetch
};

struct Output {
  std::string name;  // "out", "dev", …
  std::string path;
  std::uint64_t nar_size = 0;  // bytes
};

// The response of GET /build/status. The order of the first five fields never changes.
struct BuildStatus {
  bool is_running = false;
  std::optional<Time> last_start;
  std::optional<Time> last_finish;         // null while a build runs
  std::optional<BuildResult> last_status;  // null while a build runs
  std::optional<std::string> last_commit;  // 40 hexadecimal digits, null while a build runs
  std::string repository;
  std::optional<std::int64_t> build_id;  // null: never built
  // One of the phases in names.hpp; "": never built.
  std::string phase;
  Progress progress;
  std::optional<std::string> error;
  std::vector<std::string> outputs;  // store paths that this build keeps by GC roots
};

struct TriggerReply {
  TriggerResult status = TriggerResult::unknown;
  std::string message;
  std::string repository;
  std::int64_t build_id = 0;
  Added<std::int64_t> queued_behind;    // the build that this one waits for
  Added<std::int64_t> queued_build_id;  // the build that follows the running one
};

struct CancelReply {
  CancelResult status = CancelResult::unknown;
  std::string message;
  std::string repository;
  std::optional<std::int64_t> build_id;
};

struct LogLines {
  std::vector<std::string> logs;
};

struct Phase {
  std::string name;
  Time start;
  std::optional<Time> finish;
};

struct Target {
  std::string name;  // "packages.x86_64-linux.hello"
  TargetResult result = TargetResult::pending;
  std::string derivation;
  std::vector<Output> outputs;
  std::string error;                  // why it failed or was skipped, one line
  std::vector<std::string> log_tail;  // the last lines of its log
};

struct DerivationTime {
  std::string derivation;
  std::string name;
  Time start;
  std::uint64_t milliseconds = 0;
  bool failed = false;
};

// One build of the history. GET /builds omits targets, derivations and phases.
struct Build {
  std::int64_t id = 0;
  std::string repository;
  std::optional<std::string> branch;  // null: the remote's HEAD
  BuildState state = BuildState::queued;
  std::string triggered_by;    // a user's or node's name, empty if unknown
  std::string triggered_from;  // an address, or "command line"
  Time queued_at;
  std::optional<Time> start;
  std::optional<Time> finish;
  std::optional<std::string> commit;
  std::string commit_subject;
  std::string commit_author;
  std::optional<std::string> error;
  bool has_lock = false;  // GET /builds/ID/flake.lock is available
  std::vector<Phase> phases;
  std::vector<Target> targets;
  std::vector<DerivationTime> derivations;
};

struct BuildList {
  std::vector<Build> builds;                // newest first
  std::optional<std::int64_t> next_before;  // ?before= of the next page
};

struct Repository {
  std::string name;
  std::string url;  // without credentials
  std::optional<std::string> branch;
  std::string lock;  // one of lock_kinds in names.hpp
};

struct RepositoryList {
  std::vector<Repository> repositories;
};

struct Info {
  std::string hostname;
  std::string version;
  std::string system;  // "x86_64-linux"
  std::uint16_t api_port = 0;
  std::string cache_url;  // as a client reaches it
  std::vector<std::string> public_keys;
  std::vector<std::string> repositories;
};

struct Health {
  HealthState status = HealthState::unknown;
  bool cache_running = false;
  std::vector<std::string> problems;  // what is wrong, one line each
};

struct RecordedOutput {
  std::string name;
  std::string path;
};

// A target that was built, in a build record.
struct RecordedTarget {
  std::string name;
  std::string derivation;
  std::vector<RecordedOutput> outputs;
};

// The content of a build record; see record.hpp. New fields are only ever added at the end, as the
// order is part of the format.
struct BuildRecord {
  std::int64_t format = 1;
  std::string server;   // the host name of the server that signs
  std::string history;  // the random id of the server's history, 32 hexadecimal digits
  std::int64_t build = 0;
  std::string repository;
  std::string url;  // without credentials
  std::optional<std::string> branch;
  BuildState state = BuildState::unknown;  // success, failed or cancelled
  std::string commit;
  std::optional<std::string> lock_sha256;  // of flake.lock's bytes, hexadecimal
  Time finish;
  std::vector<RecordedTarget> targets;  // that were built
};

// The response of GET /builds/ID/record.
struct SignedRecord {
  std::string record;  // the exact bytes
  std::vector<std::string> signatures;
};

struct ErrorReply {
  std::string detail;
};

}  // namespace nixbuild::protocol
