// The name and meaning of every field of the API's types, each written once: JSON (json.cpp) and
// the OpenAPI schemas (schema.cpp) are made by visitors of these functions.
//
// A visitor is called once a field, in the order of the JSON object, as
//
//   visit("is_running", status.is_running, "Whether a build is queued or runs");
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

constexpr auto build_phases =
    words("", "queued", "fetch", "inputs", "evaluate", "build", "finish", "done");
constexpr auto lock_kinds = words("updated", "committed", "both");

template <typename V>
void fields(V&& visit, Like<RunningDerivation> auto& s) {
  visit("derivation", s.derivation, "Store path of the derivation");
  visit("name", s.name, "Its name, without hash and .drv");
  visit("phase", s.phase, "The phase of its builder, such as unpackPhase; empty when not known");
  visit("since", s.since, "When it began");
}

template <typename V>
void fields(V&& visit, Like<Progress> auto& s) {
  visit("targets", s.targets, "Targets found in the repository");
  visit("evaluated", s.evaluated, "Targets evaluated so far");
  visit("built", s.built, "Derivations built so far");
  visit("to_build", s.to_build, "Derivations to build in all");
  visit("failed", s.failed, "Derivations that failed");
  visit("copied", s.copied, "Store paths copied from substituters so far");
  visit("to_copy", s.to_copy, "Store paths to copy in all");
  visit("bytes_copied", s.bytes_copied, "Bytes copied so far");
  visit("bytes_to_copy", s.bytes_to_copy, "Bytes to copy in all");
  visit("running", s.running, "The derivations that are being built now");
}

template <typename V>
void fields(V&& visit, Like<Output> auto& s) {
  visit("name", s.name, "The output's name, such as out or dev");
  visit("path", s.path, "Its store path");
  visit("nar_size", s.nar_size, "Its size in bytes, as a NAR");
}

template <typename V>
void fields(V&& visit, Like<BuildStatus> auto& s) {
  visit("is_running", s.is_running, "Whether a build is queued or runs");
  visit("last_start", s.last_start, "When the newest build began");
  visit("last_finish", s.last_finish, "When it ended; null while it runs");
  visit("last_status", s.last_status, "How it ended; null while it runs");
  visit("last_commit", s.last_commit,
        "The commit that was built, 40 hexadecimal digits; null while it runs");
  visit("repository", s.repository, "The repository's name");
  visit("build_id", s.build_id, "The newest build's number; null when there was none");
  visit("phase", s.phase, "How far it is; empty when there was none", build_phases);
  visit("progress", s.progress, "What it has done and has yet to do");
  visit("error", s.error, "Why it failed, 'cancelled' and 'interrupted' among others");
  visit("outputs", s.outputs, "Store paths that are kept from garbage collection by this build");
}

template <typename V>
void fields(V&& visit, Like<TriggerReply> auto& s) {
  visit("status", s.status, "What became of the request");
  visit("message", s.message, "The same in a sentence");
  visit("repository", s.repository, "The repository's name");
  visit("build_id", s.build_id, "The number of the build that was started, or already runs");
}

template <typename V>
void fields(V&& visit, Like<CancelReply> auto& s) {
  visit("status", s.status, "What became of the request");
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
  visit("name", s.name, "One of the words that phase of BuildStatus can be");
  visit("start", s.start, "When it began");
  visit("finish", s.finish, "When it ended; null while it lasts");
}

template <typename V>
void fields(V&& visit, Like<Target> auto& s) {
  visit("name", s.name, "Attribute path, such as packages.x86_64-linux.hello");
  visit("result", s.result, "How it ended");
  visit("derivation", s.derivation, "Store path of its derivation; empty when not evaluated");
  visit("outputs", s.outputs, "What was built");
  visit("error", s.error, "Why it failed or was skipped, in one line; empty otherwise");
  visit("log_tail", s.log_tail, "The last lines of its log, when it failed");
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
  visit("branch", s.branch, "The branch that was built; null: the remote's HEAD");
  visit("state", s.state, "How far it is, or how it ended");
  visit("triggered_by", s.triggered_by, "The user or machine that asked for it; empty: not known");
  visit("triggered_from", s.triggered_from, "The address from which it was asked for");
  visit("queued_at", s.queued_at, "When it was asked for");
  visit("start", s.start, "When it began");
  visit("finish", s.finish, "When it ended");
  visit("commit", s.commit, "The commit that was built, 40 hexadecimal digits");
  visit("commit_subject", s.commit_subject, "The first line of the commit's message");
  visit("commit_author", s.commit_author, "The commit's author");
  visit("error", s.error, "Why it failed");
  visit("has_lock", s.has_lock,
        "Whether GET /builds/{id}/flake.lock has the lock it was built with");
  visit("phases", s.phases, "Its phases in order; empty in a list of builds");
  visit("targets", s.targets, "What was to be built; empty in a list of builds");
  visit("derivations", s.derivations, "What was built and how long; empty in a list of builds");
}

template <typename V>
void fields(V&& visit, Like<BuildList> auto& s) {
  visit("builds", s.builds, "Newest first");
  visit("next_before", s.next_before, "The value of ?before= for the next page; null on the last");
}

template <typename V>
void fields(V&& visit, Like<Repository> auto& s) {
  visit("name", s.name, "The name under which it is configured");
  visit("url", s.url, "Where it is fetched from, without credentials");
  visit("branch", s.branch, "The branch that is built; null: the remote's HEAD");
  visit("lock", s.lock, "Which inputs it is built with", lock_kinds);
}

template <typename V>
void fields(V&& visit, Like<RepositoryList> auto& s) {
  visit("repositories", s.repositories, "The first is meant where a request names none");
}

template <typename V>
void fields(V&& visit, Like<Info> auto& s) {
  visit("hostname", s.hostname, "The server's host name");
  visit("version", s.version, "The version of nixbuild that serves");
  visit("system", s.system, "What it builds for, such as x86_64-linux");
  visit("api_port", s.api_port, "The port of this API");
  visit("cache_url", s.cache_url, "The binary cache, as a client reaches it");
  visit("public_keys", s.public_keys, "The keys that the cache signs with, NAME:BASE64");
  visit("repositories", s.repositories, "Names of the configured repositories");
}

template <typename V>
void fields(V&& visit, Like<Health> auto& s) {
  visit("status", s.status, "Whether all is well");
  visit("cache_running", s.cache_running, "Whether the binary cache answers");
  visit("problems", s.problems, "What is wrong, one line each");
}

template <typename V>
void fields(V&& visit, Like<ErrorReply> auto& s) {
  visit("detail", s.detail, "What is wrong, and what to do about it");
}

}  // namespace nixbuild::protocol
