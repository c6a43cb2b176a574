// GET /build/logs and its event stream: the log of the newest build, or of a running build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "server/api/build_feed.hpp"
#include "server/api/event_stream.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"
#include "server/http/response.hpp"

namespace nixbuild::api {

// Thread-safe, with one history per thread. Blocking. Every function throws history::SqliteError
// and SystemError.
class Logs {
 public:
  // Both must outlive this object.
  Logs(const history::StateLayout& layout, BuildFeed& feed) : layout_(layout), feed_(feed) {}

  // The last lines of the newest build's log. Whatever their number, they are read from the file
  // while they are sent.
  http::Response tail(history::History& history, const std::string& repository, std::size_t lines);
  // `lines`: how many of the log's last lines to start with.
  http::Response stream(history::History& history, StreamRequest request,
                        std::optional<std::int64_t> lines);

 private:
  const history::StateLayout& layout_;
  BuildFeed& feed_;
};

}  // namespace nixbuild::api
