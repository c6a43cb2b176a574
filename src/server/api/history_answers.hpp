// GET /builds and what lies below it: the builds that were. Blocking; each throws
// sqlite::SqliteError.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"
#include "server/http/response.hpp"

namespace nixbuild::api {

// As history::History::list.
http::Response list_builds(history::History& history, const std::string& repository, int limit,
                           std::optional<std::int64_t> before);

// These answer 404 where there is no such build, or nothing of the kind was kept of it.
http::Response one_build(history::History& history, std::int64_t id);
// The whole log, as long as it is now: more may be added while it is sent.
http::Response log_of_build(history::History& history, const history::StateLayout& layout,
                            std::int64_t id);
// The flake.lock that was built with.
http::Response lock_of_build(history::History& history, std::int64_t id);

// How a build ended, as a status; nothing while it has not. Throws Error when it is no longer in
// the history.
std::optional<std::string> ended_status_json(history::History& history, std::int64_t id);

}  // namespace nixbuild::api
