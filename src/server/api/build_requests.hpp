// What clients ask of the build that runs, or is to run: to start and to end it, its log, to be
// told of it as it happens. Blocking, so not for the serving threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/api/build_feed.hpp"
#include "server/api/event_stream.hpp"
#include "server/api/runner.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"
#include "server/http/response.hpp"

namespace nixbuild::api {

// Thread-safe, with a history for each thread. Every function throws sqlite::SqliteError and
// SystemError.
class BuildRequests {
 public:
  // All must outlive this object.
  BuildRequests(const history::StateLayout& layout, Runner& runner, BuildFeed& feed)
      : layout_(layout), runner_(runner), feed_(feed) {}

  // Queues a build and has it started; throws RunnerError where that cannot be done, and the build
  // has then failed.
  http::Response trigger(history::History& history, const history::Trigger& trigger);
  // Throws RunnerError.
  http::Response cancel(history::History& history, const std::string& repository);
  // The last lines of the newest build's log.
  http::Response logs(history::History& history, const std::string& repository, std::size_t lines);
  // `lines`: begin with the log's last ones.
  http::Response stream(history::History& history, StreamRequest request,
                        std::optional<std::int64_t> lines);

  // Another number after every trigger and cancel.
  std::uint64_t changes() const noexcept { return changes_; }

 private:
  const history::StateLayout& layout_;
  Runner& runner_;
  BuildFeed& feed_;
  std::atomic<std::uint64_t> changes_{0};
};

// Who triggers, as a client says it: printable, and not too long.
std::string cleaned_user(std::string_view text);

}  // namespace nixbuild::api
