// GET /build/logs/{repository}/stream: one build as it happens, as server-sent events. What is sent
// is described in common/protocol/routes.hpp.
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
  std::optional<std::int64_t> build;  // nothing: the newest
  std::uint64_t offset = 0;           // of the log
  bool with_log = true;
  // How a build ended, as JSON; nothing while it has not. Throws when it is no longer known.
  std::function<boost::asio::awaitable<std::optional<std::string>>(std::int64_t build)>
      ended_status;
};

// Where in a log an event's id stands: BUILD:OFFSET. Nothing for what is no such id.
struct LogPosition {
  std::int64_t build = 0;
  std::uint64_t offset = 0;
};
std::optional<LogPosition> parse_event_id(std::string_view text);

http::Response event_stream_response(BuildFeed& feed, StreamRequest request);

}  // namespace nixbuild::api
