// The name and meaning of every field of the API's types, each written once: JSON (json.cpp) and
// the OpenAPI schemas (schema.cpp) are made by visitors of these functions.
//
// A visitor is called once a field, in the order of the JSON object, as
//
//   visit("is_running", status.is_running, "Whether a build is queued or running");
//   visit("phase", status.phase, "How far it is", build_phases);
//
// The last argument, if given, lists the words that a string can be today. The names of an enum are
// in names.hpp.
#pragma once

#include <concepts>
#include <span>
#include <string_view>
#include <type_traits>

#include "common/protocol/names.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::protocol {

using Words = std::span<const std::string_view>;

// Struct or const Struct.
template <typename T, typename Struct>
concept Like = std::same_as<std::remove_const_t<T>, Struct>;

// Whether a field is left out of JSON while it has no value.
template <typename T>
constexpr bool is_added = false;
template <typename T>
constexpr bool is_added<Added<T>> = true;

constexpr auto build_phases = words("", phase::queued, phase::fetch, phase::inputs, phase::evaluate,
                                    phase::build, phase::finish, phase::done);

template <typename V>
void fields(V&& visit, Like<RunningDerivation> auto& s) {
  visit("derivation", s.derivation, "Store path of the derivation");
  visit("name", s.name, "Its name, without hash and .drv");
  visit("phase", s.phase, "The phase of its builder, such as unpackPhase; empty if unknown");
  visit("since", s.since, "When it started");
}

template <typename V>
void fields(V&& visit, Like<Progress> auto& s) {
  visit("targets", s.targets, "Targets found in the repository");
  visit("evaluated", s.evaluated, "Targets evaluated so far");
  visit("built", s.built, "Derivations built so far");
  visit("to_build", s.to_build, "Derivations to build in total");
  visit("failed", s.failed, "Derivations that failed");
  visit("copied", s.copied, "Store paths copied from substituters so far");
  visit("to_copy", s.to_copy, "Store paths to copy in total");
  visit("bytes_copied", s.bytes_copied, "Bytes copied so far");
  visit("bytes_to_copy", s.bytes_to_copy, "Bytes to copy in total");
  visit("running", s.running, "Derivations that are being built");
  visit("failed_names", s.failed_names,
        "Names of derivations that failed, the first few; absent if none did");
  visit("activity", s.activity,
        "How far fetching the repository is, in git's words; absent at other times");
}

template <typename V>
void fields(V&& visit, Like<Output> auto& s) {
  visit("name", s.name, "The output's name, such as out or dev");
  visit("path", s.path, "Its store path");
  visit("nar_size", s.nar_size, "Its size as a NAR, in bytes");
}

template <typename V>
void fields(V&& visit, Like<BuildStatus> auto& s) {
  visit("is_running", s.is_running, "Whether a build is queued or running");
  visit("last_start", s.last_start, "When the newest build started");
  visit("last_finish", s.last_finish, "When it ended; null while it is running");
  visit("last_status", s.last_status, "How it ended; null while it is running");
  visit("last_commit", s.last_commit,
        "The commit that was built, 40 hexadecimal digits; null while it is running");
  visit("repository", s.repository, "The repository's name");
  visit("build_id", s.build_id, "The newest build's number; null if there is none");
  visit("phase", s.phase, "The phase it is in; empty if there is no build", build_phases);
  visit("progress", s.progress, "What is done and what remains");
  visit("error", s.error, "Why it failed, such as 'cancelled' or 'interrupted'");
  visit("outputs", s.outputs, "Store paths that this build keeps from garbage collection");
}

template <typename V>
void fields(V&& visit, Like<TriggerReply> auto& s) {
  visit("status", s.status, "The result of the request");
  visit("message", s.message, "The same in a sentence");
  visit("repository", s.repository, "The repository's name");
  visit("build_id", s.build_id, "The number of the build that was started or is already running");
  visit("queued_behind", s.queued_behind,
        "The number of the build that this one waits for; absent if it can start at once");
}

template <typename V>
void fields(V&& visit, Like<CancelReply> auto& s) {
  visit("status", s.status, "The result of the request");
  visit("message", s.message, "The same in a sentence");
  visit("repository", s.repository, "The repository's name");
  visit("build_id", s.build_id, "The number of the build that was stopped");
}

template <typename V>
void fields(V&& visit, Like<LogLines> auto& s) {
  visit("logs", s.logs, "The last lines of the newest build's log, oldest first");
}

template <typename V>
void fields(V&& visit, Like<Phase> auto& s) {
  visit("name", s.name, "One of the values of BuildStatus.phase");
  visit("start", s.start, "When it started");
  visit("finish", s.finish, "When it ended; null during the phase");
}

template <typename V>
void fields(V&& visit, Like<Target> auto& s) {
  visit("name", s.name, "Attribute path, such as packages.x86_64-linux.hello");
  visit("result", s.result, "How it ended");
  visit("derivation", s.derivation, "Store path of its derivation; empty if it was not evaluated");
  visit("outputs", s.outputs, "What was built");
  visit("error", s.error, "Why it failed or was skipped, in one line; empty otherwise");
  visit("log_tail", s.log_tail, "The last lines of its log, if it failed");
}

template <typename V>
void fields(V&& visit, Like<DerivationTime> auto& s) {
  visit("derivation", s.derivation, "Store path of the derivation");
  visit("name", s.name, "Its name, without hash and .drv");
  visit("start", s.start, "When its build began");
  visit("milliseconds", s.milliseconds, "How long its build took");
  visit("failed", s.failed, "Whether its build failed");
}

template <typename V>
void fields(V&& visit, Like<Build> auto& s) {
  visit("id", s.id, "The build's number, counted over all repositories");
  visit("repository", s.repository, "The repository's name");
  visit("branch", s.branch, "The branch that was built; null for the remote's HEAD");
  visit("state", s.state, "Its state");
  visit("triggered_by", s.triggered_by, "The user or machine that triggered it; empty if unknown");
  visit("triggered_from", s.triggered_from, "The address it was triggered from");
  visit("queued_at", s.queued_at, "When it was triggered");
  visit("start", s.start, "When it started");
  visit("finish", s.finish, "When it ended");
  visit("commit", s.commit, "The commit that was built, 40 hexadecimal digits");
  visit("commit_subject", s.commit_subject, "The first line of the commit's message");
  visit("commit_author", s.commit_author, "The commit's author");
  visit("error", s.error, "Why it failed");
  visit("has_lock", s.has_lock,
        "Whether GET /builds/{id}/flake.lock has the lock file of the build");
  visit("phases", s.phases, "Its phases in order; empty in a list of builds");
  visit("targets", s.targets, "What it was to build; empty in a list of builds");
  visit("derivations", s.derivations,
        "What was built and how long it took; empty in a list of builds");
}

template <typename V>
void fields(V&& visit, Like<BuildList> auto& s) {
  visit("builds", s.builds, "Newest first");
  visit("next_before", s.next_before, "The value of ?before= for the next page; null on the last");
}

template <typename V>
void fields(V&& visit, Like<Repository> auto& s) {
  visit("name", s.name, "Its configured name");
  visit("url", s.url, "Its URL, without credentials");
  visit("branch", s.branch, "The branch that is built; null for the remote's HEAD");
  visit("lock", s.lock, "Which lock file it is built with", lock_kinds);
}

template <typename V>
void fields(V&& visit, Like<RepositoryList> auto& s) {
  visit("repositories", s.repositories, "The first is the default of requests that name none");
}

template <typename V>
void fields(V&& visit, Like<Info> auto& s) {
  visit("hostname", s.hostname, "The server's host name");
  visit("version", s.version, "The version of the server");
  visit("system", s.system, "Nix system of the server, such as x86_64-linux");
  visit("api_port", s.api_port, "The port of this API");
  visit("cache_url", s.cache_url, "URL of the binary cache");
  visit("public_keys", s.public_keys, "Public keys of the cache, NAME:BASE64");
  visit("repositories", s.repositories, "Names of the configured repositories");
}

template <typename V>
void fields(V&& visit, Like<Health> auto& s) {
  visit("status", s.status, "Whether the server works");
  visit("cache_running", s.cache_running, "Whether the binary cache answers");
  visit("problems", s.problems, "One line for each problem");
}

template <typename V>
void fields(V&& visit, Like<RecordedOutput> auto& s) {
  visit("name", s.name, "The output's name, such as out or dev");
  visit("path", s.path, "Its store path");
}

template <typename V>
void fields(V&& visit, Like<RecordedTarget> auto& s) {
  visit("name", s.name, "Attribute path, such as packages.x86_64-linux.hello");
  visit("derivation", s.derivation, "Store path of its derivation");
  visit("outputs", s.outputs, "Its outputs, all of which were built");
}

template <typename V>
void fields(V&& visit, Like<BuildRecord> auto& s) {
  visit("format", s.format, "1");
  visit("server", s.server, "The host name of the server that signs");
  visit("history", s.history, "Random id of the server's history, 32 hexadecimal digits");
  visit("build", s.build, "The build's number in that history");
  visit("repository", s.repository, "The repository's name");
  visit("url", s.url, "Where it was fetched from, without credentials");
  visit("branch", s.branch, "The branch that was built; null: the remote's HEAD");
  visit("state", s.state, "How the build ended");
  visit("commit", s.commit, "The commit that was built, 40 or 64 hexadecimal digits");
  visit("lock_sha256", s.lock_sha256,
        "SHA-256 of the bytes of GET /builds/{id}/flake.lock, hexadecimal; null: it has none");
  visit("finish", s.finish, "When the build ended");
  visit("targets", s.targets, "The targets that were built");
}

template <typename V>
void fields(V&& visit, Like<SignedRecord> auto& s) {
  visit("record", s.record, "The exact bytes of a BuildRecord, which are what is signed");
  visit("signatures", s.signatures, "One by each key of the server, NAME:BASE64");
}

template <typename V>
void fields(V&& visit, Like<ErrorReply> auto& s) {
  visit("detail", s.detail, "The error, and what to do about it");
}

}  // namespace nixbuild::protocol
