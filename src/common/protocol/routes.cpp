#include "common/protocol/routes.hpp"

#include <array>
#include <limits>
#include <stdexcept>

#include "common/base/percent.hpp"

namespace nixbuild::protocol {
namespace {

constexpr std::string_view json = "application/json";
constexpr std::string_view text = "text/plain; charset=utf-8";
constexpr std::int64_t any_number = std::numeric_limits<std::int64_t>::max();

constexpr Parameter repository = {"repository", Place::path, "Name of a configured repository"};
constexpr Parameter build_id = {"id", Place::path, "Number of a build", true, 1, any_number};
constexpr Parameter lines = {"lines",
                             Place::query,
                             "Number of lines, from the end of the log",
                             true,
                             least_log_lines,
                             most_log_lines,
                             default_log_lines};
constexpr Parameter user = {user_header, Place::header,
                            "Who triggers the build, as USER@HOST, for the history"};

constexpr std::array trigger_parameters = {user};
constexpr std::array trigger_repository_parameters = {repository, user};
constexpr std::array repository_parameters = {repository};
constexpr std::array logs_parameters = {lines};
constexpr std::array logs_repository_parameters = {repository, lines};
constexpr std::array cancel_parameters = {
    Parameter{"build", Place::query,
              "Stop only this build, which runs or is queued (default: whichever runs)", true, 1,
              any_number},
};
constexpr std::array cancel_repository_parameters = {repository, cancel_parameters[0]};
constexpr std::array stream_parameters = {
    repository,
    Parameter{"build", Place::query, "Number of the build to follow (default: the newest)", true, 1,
              any_number},
    Parameter{"lines", Place::query,
              "Start with this many lines from the end of the log (default: all)", true, 0,
              most_log_lines},
    Parameter{"events", Place::query, "'status' omits the lines of the log"},
    Parameter{"Last-Event-ID", Place::header, "Resume after this event: BUILD:OFFSET"},
};
constexpr std::array builds_parameters = {
    Parameter{"repository", Place::query, "Only builds of this repository"},
    Parameter{"target", Place::query, "Only builds that have this target"},
    Parameter{
        "result", Place::query,
        "Only builds in which the target has this result or, without a target, with this state"},
    Parameter{"limit", Place::query, "Number of builds", true, 1, most_builds, default_builds},
    Parameter{"before", Place::query, "Only builds with a lower number", true, 1, any_number},
};
constexpr std::array build_parameters = {build_id};

constexpr std::array<unsigned, 3> common = {401, 403, 503};
constexpr std::array<unsigned, 1> not_found = {404};
constexpr std::array<unsigned, 1> bad_parameter = {422};
constexpr std::array<unsigned, 2> not_found_or_bad_parameter = {404, 422};
constexpr std::array<unsigned, 3> trigger_errors = {404, 413, 429};

constexpr std::array table = {
    Route{Operation::trigger, "trigger", Method::post, "/build/trigger",
          "Build the first configured repository", trigger_parameters, json, "TriggerReply",
          trigger_errors},
    Route{Operation::trigger, "triggerRepository", Method::post, "/build/trigger/{repository}",
          "Build a repository", trigger_repository_parameters, json, "TriggerReply",
          trigger_errors},
    Route{Operation::status,
          "status",
          Method::get,
          "/build/status",
          "The newest build of the first configured repository",
          {},
          json,
          "BuildStatus",
          {}},
    Route{Operation::status, "statusRepository", Method::get, "/build/status/{repository}",
          "The newest build of a repository", repository_parameters, json, "BuildStatus",
          not_found},
    Route{Operation::logs, "logs", Method::get, "/build/logs",
          "The last lines of the newest build's log, of the first configured repository",
          logs_parameters, json, "LogLines", bad_parameter},
    Route{Operation::logs, "logsRepository", Method::get, "/build/logs/{repository}",
          "The last lines of the newest build's log", logs_repository_parameters, json, "LogLines",
          not_found_or_bad_parameter},
    Route{Operation::stream, "stream", Method::get, "/build/logs/{repository}/stream",
          "Follow a build: status, log lines and result as events", stream_parameters,
          "text/event-stream", "", not_found_or_bad_parameter},
    Route{Operation::cancel, "cancel", Method::post, "/build/cancel",
          "Stop the running build of the first configured repository", cancel_parameters, json,
          "CancelReply", not_found_or_bad_parameter},
    Route{Operation::cancel, "cancelRepository", Method::post, "/build/cancel/{repository}",
          "Stop the running build of a repository", cancel_repository_parameters, json,
          "CancelReply", not_found_or_bad_parameter},
    Route{Operation::builds, "builds", Method::get, "/builds", "The history, newest build first",
          builds_parameters, json, "BuildList", not_found_or_bad_parameter},
    Route{Operation::build, "build", Method::get, "/builds/{id}",
          "One build with its phases, targets and derivations", build_parameters, json, "Build",
          not_found_or_bad_parameter},
    Route{Operation::build_log, "buildLog", Method::get, "/builds/{id}/log",
          "The whole log of one build", build_parameters, text, "", not_found_or_bad_parameter},
    Route{Operation::build_lock, "buildLock", Method::get, "/builds/{id}/flake.lock",
          "The flake.lock of one build", build_parameters, json, "", not_found_or_bad_parameter},
    Route{Operation::build_record, "buildRecord", Method::get, "/builds/{id}/record",
          "What one build made, signed with the binary cache's keys", build_parameters, json,
          "SignedRecord", not_found_or_bad_parameter},
    Route{Operation::repositories,
          "repositories",
          Method::get,
          "/repositories",
          "The configured repositories",
          {},
          json,
          "RepositoryList",
          {}},
    Route{Operation::info,
          "info",
          Method::get,
          "/info",
          "Names, URLs and keys that a client needs",
          {},
          json,
          "Info",
          {}},
    Route{Operation::health,
          "health",
          Method::get,
          "/health",
          "Whether the server and its cache work; always 200",
          {},
          json,
          "Health",
          {}},
    Route{Operation::metrics,
          "metrics",
          Method::get,
          "/metrics",
          "Metrics for Prometheus",
          {},
          "text/plain; version=0.0.4; charset=utf-8",
          "",
          {}},
    Route{Operation::openapi,
          "openapi",
          Method::get,
          "/openapi.json",
          "This document",
          {},
          json,
          "",
          {}},
};

}  // namespace

std::span<const Route> routes() {
  return table;
}

std::span<const unsigned> common_errors() {
  return common;
}

std::string path_of(Operation operation, std::string_view argument) {
  for (const Route& route : table) {
    if (route.operation != operation) continue;
    const std::size_t open = route.path.find('{');
    const bool has_placeholder = open != std::string_view::npos;
    if (has_placeholder == argument.empty()) continue;
    if (!has_placeholder) return std::string(route.path);
    return std::string(route.path.substr(0, open)) + percent_encode(argument) +
           std::string(route.path.substr(route.path.find('}') + 1));
  }
  throw std::logic_error("no route of this operation takes, or lacks, an argument");
}

std::string with_query(std::string path, QueryPairs pairs) {
  char separator = '?';
  for (const auto& [name, value] : pairs) {
    if (value.empty()) continue;
    path += separator;
    path += percent_encode(name) + '=' + percent_encode(value);
    separator = '&';
  }
  return path;
}

}  // namespace nixbuild::protocol
