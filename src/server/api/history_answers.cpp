#include "server/api/history_answers.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <memory>
#include <utility>

#include "common/base/unique_fd.hpp"
#include "common/protocol/json.hpp"
#include "server/api/answers.hpp"
#include "server/history/status_file.hpp"

namespace nixbuild::api {
namespace {

http::Response no_build(std::int64_t id) {
  return error_response(404, fmt::format("no build #{} in the history", id));
}

}  // namespace

http::Response list_builds(history::History& history, const std::string& repository, int limit,
                           std::optional<std::int64_t> before) {
  return http::json_response(200, protocol::to_json(history.list(repository, limit, before)));
}

http::Response one_build(history::History& history, std::int64_t id) {
  const auto build = history.get(id);
  if (!build) return no_build(id);
  return http::json_response(200, protocol::to_json(*build));
}

http::Response log_of_build(history::History& history, const history::StateLayout& layout,
                            std::int64_t id) {
  const auto build = history.get(id);
  if (!build) return no_build(id);
  UniqueFd fd(::open(layout.log(build->repository, id).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    return error_response(404, fmt::format("build #{} has no log", id));
  }
  http::Response response;
  response.body = http::FileBody{std::make_shared<const UniqueFd>(std::move(fd)),
                                 static_cast<std::uint64_t>(status.st_size)};
  response.accept_ranges = true;
  return response;
}

http::Response lock_of_build(history::History& history, std::int64_t id) {
  auto lock = history.lock_text(id);
  if (!lock) {
    return error_response(404, fmt::format("no build #{} with a flake.lock in the history", id));
  }
  return http::json_response(200, std::move(*lock));
}

std::optional<std::string> ended_status_json(history::History& history, std::int64_t id) {
  const auto build = history.get(id);
  if (!build) throw Error(fmt::format("build #{} is no longer in the history", id));
  if (!build->finish) return std::nullopt;
  return protocol::to_json(history::ended_status(history, *build));
}

}  // namespace nixbuild::api
