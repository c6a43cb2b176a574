// GET /builds and the routes below it: the history.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"
#include "server/http/response.hpp"

namespace nixbuild::api {

// Thread-safe, with one history per thread. Blocking. Every function throws history::SqliteError
// and SystemError.
class Builds {
 public:
  // `layout` must outlive this object.
  explicit Builds(const history::StateLayout& layout) : layout_(layout) {}

  // See history::History::list.
  http::Response list(history::History& history, const history::BuildFilter& filter, int limit,
                      std::optional<std::int64_t> before);

  // These answer 404 if there is no such build, or the requested data was not kept.
  http::Response one(history::History& history, std::int64_t id);
  // The whole log, up to its current length: more may be added while it is sent.
  http::Response log(history::History& history, std::int64_t id);
  // The flake.lock used by the build.
  http::Response lock(history::History& history, std::int64_t id);

  // The final status of a build, as a BuildStatus in JSON; nothing if it has not ended. Throws
  // Error if it is no longer in the history.
  static std::optional<std::string> ended_status(history::History& history, std::int64_t id);

 private:
  const history::StateLayout& layout_;
};

}  // namespace nixbuild::api
