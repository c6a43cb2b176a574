// GET /builds and what lies below it: the builds that were. Blocking; each throws HistoryError.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/build/history.hpp"
#include "server/build/state_layout.hpp"
#include "server/http/response.hpp"

namespace nixbuild::api {

// As build::History::list.
http::Response list_builds(build::History& history, const std::string& repository, int limit,
                           std::optional<std::int64_t> before);

// These answer 404 where there is no such build, or nothing of the kind was kept of it.
http::Response one_build(build::History& history, std::int64_t id);
// The whole log, as long as it is now: more may be added while it is sent.
http::Response log_of_build(build::History& history, const build::StateLayout& layout,
                            std::int64_t id);
// The flake.lock that was built with.
http::Response lock_of_build(build::History& history, std::int64_t id);

// How a build ended, as a status; nothing while it has not. Throws Error when it is no longer in
// the history.
std::optional<std::string> ended_status_json(build::History& history, std::int64_t id);

}  // namespace nixbuild::api
