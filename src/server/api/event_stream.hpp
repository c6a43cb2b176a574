// GET /build/logs/{repository}/stream: one build as it happens, as server-sent events. What is sent
// is described in common/protocol/routes.hpp.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/api/build_feed.hpp"
#include "server/build/state_layout.hpp"
#include "server/http/response.hpp"

namespace nixbuild::api {

struct StreamRequest {
  std::string repository;
  std::optional<std::int64_t> build;  // nothing: the newest
  std::uint64_t offset = 0;           // of the log
  bool with_log = true;
  // Of a build that is not the repository's newest: how it ended.
  std::optional<std::string> ended_status;
  // The same of one that stops being the newest while it is followed. Called on the thread that
  // serves the stream.
  std::function<std::string(std::int64_t build)> read_ended_status;
};

http::Response event_stream_response(BuildFeed& feed, StreamRequest request);

}  // namespace nixbuild::api
