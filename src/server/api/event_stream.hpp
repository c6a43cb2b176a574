// GET /build/logs/{repository}/stream: one running build as server-sent events. See
// common/protocol/routes.hpp for the events.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "server/api/build_feed.hpp"
#include "server/history/state_layout.hpp"
#include "server/http/response.hpp"

namespace nixbuild::api {

struct StreamRequest {
  std::string repository;
  std::optional<std::int64_t> build;  // nothing for the newest
  std::uint64_t offset = 0;           // of the log
  bool with_log = true;
  // The final status of a build, as JSON; nothing if it has not ended. Throws if the build is no
  // longer known.
  std::function<boost::asio::awaitable<std::optional<std::string>>(std::int64_t build)>
      ended_status;
};

// The log position in an event's id, BUILD:OFFSET. Nothing if the id is malformed.
struct LogPosition {
  std::int64_t build = 0;
  std::uint64_t offset = 0;
};
std::optional<LogPosition> parse_event_id(std::string_view text);

http::Response event_stream_response(BuildFeed& feed, StreamRequest request);

}  // namespace nixbuild::api
