// The build API's route table. The server dispatches by it, clients build paths from it, and
// /openapi.json is generated from it.
//
// If an operation has several routes, those that name no repository mean the first configured one.
//
// The event stream, GET /build/logs/{repository}/stream
//
//   Server-sent events (text/event-stream) of one build: the one that ?build= names, else the one
//   that Last-Event-ID names, else the repository's newest. In this order:
//
//     event: status   data: a BuildStatus, on one line. Sent at once, then on every change, at most
//                     four times a second.
//     event: log      id: BUILD:OFFSET   data: one line of the log, without its line end. OFFSET is
//                     the number of bytes of the build's log up to and including this line. A
//                     carriage return inside a line is sent as the start of a further `data:`
//                     field; bytes that are not UTF-8 are sent as U+FFFD.
//     event: end      data: the BuildStatus with which the build ended. The last event: it
//                     follows every line of the log, then the server closes.
//
//   A build that has ended is sent the same way, all at once. For a repository that was never
//   built, `end` has build_id null. A comment (": keep-alive") is sent after 15 s without other
//   data; clients treat a connection as dead after 45 s of silence.
//
//   The log starts at its beginning, or with ?lines=N at its last N lines; with Last-Event-ID:
//   BUILD:OFFSET right after OFFSET, whatever ?lines= says. ?events=status omits `log`. A build
//   that does not exist or belongs to another repository is answered 404.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace nixbuild::protocol {

enum class Operation : std::uint8_t {
  trigger,
  status,
  logs,
  stream,
  cancel,
  builds,
  build,
  build_log,
  build_lock,
  build_record,
  repositories,
  info,
  health,
  metrics,
  openapi,
};

enum class Method : std::uint8_t { get, post };

enum class Place : std::uint8_t { path, query, header };

struct Parameter {
  std::string_view name;
  Place place = Place::path;
  std::string_view description;
  // The range of whole numbers; other values are answered 422.
  bool is_integer = false;
  std::int64_t least = 0;
  std::int64_t most = 0;
  std::optional<std::int64_t> default_value = std::nullopt;
};

struct Route {
  Operation operation = Operation::trigger;
  std::string_view id;  // OpenAPI's operationId
  Method method = Method::get;
  std::string_view path;  // at most one placeholder: "/build/status/{repository}"
  std::string_view summary;
  std::span<const Parameter> parameters;
  std::string_view content_type;
  std::string_view response;         // the response's type in types.hpp; empty: none
  std::span<const unsigned> errors;  // statuses of this route besides the common ones

  // For the named repository, or the first configured one.
  bool is_about_repository() const noexcept {
    return operation == Operation::trigger || operation == Operation::cancel ||
           operation == Operation::status || operation == Operation::logs ||
           operation == Operation::stream;
  }
};

std::span<const Route> routes();

// Errors that any route may answer with, as ErrorReply.
std::span<const unsigned> common_errors();

constexpr std::int64_t least_log_lines = 1;
constexpr std::int64_t most_log_lines = 10'000;
constexpr std::int64_t default_log_lines = 100;
constexpr std::int64_t most_builds = 1000;
constexpr std::int64_t default_builds = 20;

// Who triggers, as USER@HOST: an optional header of POST /build/trigger, for the history.
constexpr std::string_view user_header = "X-Nixbuild-User";

// The path of an operation's route, with its placeholder replaced by `argument` (a repository or a
// build's number). An empty argument selects the route without a placeholder.
std::string path_of(Operation operation, std::string_view argument = {});

// `path` with a query string: names and values are percent-encoded, pairs without a value omitted.
using QueryPairs = std::initializer_list<std::pair<std::string_view, std::string>>;
std::string with_query(std::string path, QueryPairs pairs);

}  // namespace nixbuild::protocol
