#include "server/api/builds.hpp"

#include <fmt/format.h>

#include <utility>

#include "common/base/error.hpp"
#include "common/protocol/json.hpp"
#include "server/api/answers.hpp"
#include "server/history/log_file.hpp"
#include "server/history/status_file.hpp"

namespace nixbuild::api {
namespace {

http::Response no_build(std::int64_t id) {
  return error_response(404, fmt::format("no build #{} in the history", id));
}

}  // namespace

http::Response Builds::list(history::History& history, const history::BuildFilter& filter,
                            int limit, std::optional<std::int64_t> before) {
  return http::json_response(200, protocol::to_json(history.list(filter, limit, before)));
}

http::Response Builds::one(history::History& history, std::int64_t id) {
  const auto build = history.get(id);
  if (!build) return no_build(id);
  return http::json_response(200, protocol::to_json(*build));
}

http::Response Builds::log(history::History& history, std::int64_t id) {
  const auto build = history.get(id);
  if (!build) return no_build(id);
  const auto log = history::LogFile::open(layout_, build->repository, id);
  if (!log) return error_response(404, fmt::format("build #{} has no log", id));
  http::Response response;
  response.body = http::FileBody{log->descriptor(), log->size()};
  response.accept_ranges = true;
  return response;
}

http::Response Builds::lock(history::History& history, std::int64_t id) {
  auto lock = history.lock_text(id);
  if (!lock) {
    return error_response(404, fmt::format("no build #{} with a flake.lock in the history", id));
  }
  return http::json_response(200, std::move(*lock));
}

std::optional<std::string> Builds::ended_status(history::History& history, std::int64_t id) {
  const auto build = history.get(id);
  if (!build) throw Error(fmt::format("build #{} is no longer in the history", id));
  if (!build->finish) return std::nullopt;
  return protocol::to_json(history::ended_status(history, *build));
}

}  // namespace nixbuild::api
