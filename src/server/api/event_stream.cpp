#include "server/api/event_stream.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <memory>
#include <utility>

namespace nixbuild::api {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds status_interval{250};
constexpr std::chrono::seconds keep_alive_interval{15};

std::string event(std::string_view name, std::string_view data) {
  return fmt::format("event: {}\ndata: {}\n\n", name, data);
}

// Sends the log from `offset`; returns the offset of its end.
asio::awaitable<std::uint64_t> send_log(BuildFeed& feed, http::BodyWriter& out,
                                        std::string repository, std::int64_t build,
                                        std::uint64_t offset) {
  for (;;) {
    const std::shared_ptr<const LogChunk> chunk = feed.read_log(repository, build, offset);
    if (chunk->end == offset) co_return offset;
    co_await out.write(chunk->events);
    offset = chunk->end;
  }
}

asio::awaitable<void> send_ended(BuildFeed& feed, http::BodyWriter& out, StreamRequest request,
                                 std::string status) {
  co_await out.write(event("status", status));
  if (request.with_log) {
    co_await send_log(feed, out, request.repository, *request.build, request.offset);
  }
  co_await out.write(event("end", status));
}

asio::awaitable<void> follow(BuildFeed& feed, http::BodyWriter& out, StreamRequest request) {
  BuildFeed::Follower follower(feed, request.repository);
  std::shared_ptr<const Snapshot> shown;
  Clock::time_point status_due = Clock::now();
  Clock::time_point last_sent = Clock::now();
  for (;;) {
    // Read the status before the log: if it says that the build has ended, the log is complete.
    const std::shared_ptr<const Snapshot> snapshot = follower.snapshot();
    if (snapshot) {
      if (!request.build) request.build = snapshot->status.build_id;
      const bool is_of_this_build = snapshot->status.build_id == request.build;
      if (!is_of_this_build) {
        // A newer build has started, or the last snapshot is older than this one.
        if (auto status = co_await request.ended_status(*request.build)) {
          co_await send_ended(feed, out, std::move(request), std::move(*status));
          co_return;
        }
      }
      const bool has_ended = is_of_this_build && !snapshot->status.is_running;
      if (is_of_this_build && snapshot != shown && (Clock::now() >= status_due || has_ended)) {
        co_await out.write(event("status", snapshot->json));
        shown = snapshot;
        status_due = Clock::now() + status_interval;
        last_sent = Clock::now();
      }
      if (request.with_log && request.build) {
        const std::uint64_t end =
            co_await send_log(feed, out, request.repository, *request.build, request.offset);
        if (end != request.offset) last_sent = Clock::now();
        request.offset = end;
      }
      if (has_ended) {
        co_await out.write(event("end", snapshot->json));
        co_return;
      }
    }
    if (feed.stopped()) co_return;
    Clock::time_point until = last_sent + keep_alive_interval;
    if (snapshot && snapshot != shown && snapshot->status.build_id == request.build)
      until = std::min(until, status_due);
    co_await follower.wait(until);
    if (Clock::now() >= last_sent + keep_alive_interval) {
      co_await out.write(": keep-alive\n\n");
      last_sent = Clock::now();
    }
  }
}

}  // namespace

std::optional<LogPosition> parse_event_id(std::string_view text) {
  LogPosition position;
  const char* const end = text.data() + text.size();
  const auto build = std::from_chars(text.data(), end, position.build);
  if (build.ec != std::errc() || build.ptr == end || *build.ptr != ':') return std::nullopt;
  const auto offset = std::from_chars(build.ptr + 1, end, position.offset);
  if (offset.ec != std::errc() || offset.ptr != end || position.build < 1) return std::nullopt;
  return position;
}

http::Response event_stream_response(BuildFeed& feed, StreamRequest request) {
  http::Response response;
  response.content_type = "text/event-stream";
  response.cache_control = "no-store";
  http::StreamBody body;
  body.produce = [&feed, request = std::move(request)](http::BodyWriter& out, std::uint64_t,
                                                       std::uint64_t) -> asio::awaitable<void> {
    return follow(feed, out, request);
  };
  response.body = std::move(body);
  return response;
}

}  // namespace nixbuild::api
