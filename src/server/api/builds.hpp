// GET /builds and what lies below it: the history.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"
#include "server/http/response.hpp"

namespace nixbuild::api {

// Thread-safe, with a history for each thread. Blocking. Every function throws history::SqliteError
// and SystemError.
class Builds {
 public:
  // `layout` must outlive this object.
  explicit Builds(const history::StateLayout& layout) : layout_(layout) {}

  // As history::History::list.
  http::Response list(history::History& history, const std::string& repository, int limit,
                      std::optional<std::int64_t> before);

  // These answer 404 if there is no such build, or nothing of the kind was kept of it.
  http::Response one(history::History& history, std::int64_t id);
  // The whole log, as long as it is now: more may be added while it is sent.
  http::Response log(history::History& history, std::int64_t id);
  // The flake.lock that was built with.
  http::Response lock(history::History& history, std::int64_t id);

  // How a build ended, as a BuildStatus in JSON; nothing while it has not. Throws Error if it is no
  // longer in the history.
  static std::optional<std::string> ended_status(history::History& history, std::int64_t id);

 private:
  const history::StateLayout& layout_;
};

}  // namespace nixbuild::api
