// POST /build/trigger and /build/cancel: starts and cancels builds.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/api/build_feed.hpp"
#include "server/api/rate_limit.hpp"
#include "server/api/runner.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"
#include "server/http/response.hpp"

namespace nixbuild::api {

// Thread-safe, with one history per thread. Blocking. Every function throws history::SqliteError,
// SystemError and RunnerError.
class Triggers {
 public:
  // All must outlive this object.
  Triggers(const history::StateLayout& layout, Runner& runner, BuildFeed& feed)
      : layout_(layout), runner_(runner), feed_(feed) {}

  // Queues a build and starts it, or has it follow the one that runs; a build that cannot be
  // started fails. Answers 429 if the peer asks too often, or too many builds of the repository
  // were started recently. If `max_parallel` others come before the build, the answer names the
  // last of them.
  http::Response trigger(history::History& history, const history::Trigger& trigger,
                         int max_parallel);
  // Stops the running or queued build, or the one that `build` names if it is queued behind that.
  // If `build` names another one, does nothing.
  http::Response cancel(history::History& history, const std::string& repository,
                        std::optional<std::int64_t> build);

  // Changes after every trigger and cancel.
  std::uint64_t changes() const noexcept { return changes_; }

 private:
  const history::StateLayout& layout_;
  Runner& runner_;
  BuildFeed& feed_;
  std::atomic<std::uint64_t> changes_{0};
  // Far more than people need, and too little to fill a history or a disk.
  RateLimit of_peer_{100, std::chrono::milliseconds(500)};
  RateLimit of_repository_{50, std::chrono::milliseconds(2000)};
};

// The name of the triggering user, as given by the client: made printable and truncated.
std::string cleaned_user(std::string_view text);

}  // namespace nixbuild::api
