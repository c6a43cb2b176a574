#include "server/api/triggers.hpp"

#include <fmt/format.h>

#include <utility>

#include "common/base/log.hpp"
#include "common/base/time.hpp"
#include "common/protocol/json.hpp"
#include "server/api/answers.hpp"
#include "server/history/build_lock.hpp"
#include "server/history/build_log.hpp"
#include "server/history/status_file.hpp"

namespace nixbuild::api {
namespace {

constexpr std::size_t name_limit = 128;  // bytes, for the name of the triggering user

// Counts a change when it is done, successful or not.
class ChangeCount {
 public:
  explicit ChangeCount(std::atomic<std::uint64_t>& changes) : changes_(changes) {}
  ~ChangeCount() { ++changes_; }
  ChangeCount(const ChangeCount&) = delete;
  ChangeCount& operator=(const ChangeCount&) = delete;

 private:
  std::atomic<std::uint64_t>& changes_;
};

http::Response too_many(std::chrono::seconds wait, std::string_view what) {
  http::Response response =
      error_response(429, fmt::format("{}; try again in {} s", what, wait.count()));
  response.headers.emplace_back("Retry-After", std::to_string(wait.count()));
  return response;
}

// The newest of the builds that have to end, or at least start, before build `id` can start.
// Nothing if it can start immediately.
std::optional<std::int64_t> build_in_front(history::History& history, std::int64_t id,
                                           int max_parallel) {
  constexpr int most_looked_at = 100;
  std::optional<std::int64_t> newest;
  int active = 0;
  for (const protocol::Build& build : history.list({}, most_looked_at, id).builds) {
    if (protocol::has_ended(build.state)) continue;
    if (!newest) newest = build.id;
    ++active;
  }
  return active >= max_parallel ? newest : std::nullopt;
}

// Cancels a build that is queued behind one that runs. Returns whether it is one.
bool cancel_follow_up(history::History& history, const std::string& repository, std::int64_t id) {
  const auto build = history.get(id);
  if (!build || build->repository != repository || build->state != protocol::BuildState::queued) {
    return false;
  }
  if (!history.cancel(id)) return false;
  // It has no process that could record its end.
  history.finish(id, history::reason_cancelled, now());
  return true;
}

}  // namespace

std::string cleaned_user(std::string_view text) {
  std::string out = history::clean_line(text.substr(0, name_limit));
  std::erase(out, '\t');
  return out;
}

http::Response Triggers::trigger(history::History& history, const history::Trigger& trigger,
                                 int max_parallel) {
  const ChangeCount count(changes_);
  if (const auto wait = of_peer_.refuse(peer_key(trigger.from))) {
    return too_many(*wait, "you trigger builds too often");
  }
  // Dead builds must not block a new one.
  history::StatusReader(layout_, history, trigger.repository).end_what_is_dead();
  const auto current = history.current(trigger.repository);
  if (!current || protocol::has_ended(current->state)) {
    if (const auto wait = of_repository_.refuse(trigger.repository)) {
      return too_many(
          *wait, fmt::format("too many builds of {} were triggered lately", trigger.repository));
    }
  }
  const history::History::Queued queued = history.insert_queued(trigger);
  protocol::TriggerReply reply;
  reply.repository = trigger.repository;
  reply.build_id = queued.id;
  if (!queued.inserted) {
    reply.status = protocol::TriggerResult::already_running;
    reply.message =
        fmt::format("Build #{} of {} is already running", queued.id, trigger.repository);
    reply.queued_build_id = queued.follow_up;
    if (queued.follow_up) {
      reply.message += fmt::format("; build #{} follows", *queued.follow_up);
      feed_.poke();
    }
    return http::json_response(200, protocol::to_json(reply));
  }
  try {
    runner_.start(trigger.repository, queued.id);
  } catch (const RunnerError& error) {
    history.finish(queued.id, fmt::format("could not be started: {}", error.what()), now());
    throw;
  }
  feed_.poke();
  log::info("build #{} of {}, triggered from {}{}{}", queued.id, trigger.repository, trigger.from,
            trigger.by.empty() ? "" : " by ", trigger.by);
  reply.status = protocol::TriggerResult::triggered;
  reply.message = fmt::format("Build #{} of {} was triggered", queued.id, trigger.repository);
  reply.queued_behind = build_in_front(history, queued.id, max_parallel);
  return http::json_response(200, protocol::to_json(reply));
}

http::Response Triggers::cancel(history::History& history, const std::string& repository,
                                std::optional<std::int64_t> build) {
  const ChangeCount count(changes_);
  const auto current = history::StatusReader(layout_, history, repository).read();
  const bool is_meant = current.is_running && (!build || current.build_id == build);
  const bool is_follow_up = build && !is_meant && cancel_follow_up(history, repository, *build);
  protocol::CancelReply reply;
  reply.repository = repository;
  reply.build_id = build ? build : current.build_id;
  reply.status = is_meant || is_follow_up ? protocol::CancelResult::cancelled
                                          : protocol::CancelResult::not_running;
  if (is_meant || is_follow_up) {
    reply.message = fmt::format("Build #{} of {} was cancelled", *reply.build_id, repository);
  } else if (build) {
    reply.message = fmt::format("Build #{} of {} is not running", *build, repository);
  } else {
    reply.message = fmt::format("No build of {} is running", repository);
  }
  if (is_meant) {
    runner_.stop(repository);
    history.cancel(*current.build_id);
    // No other process would do it: the build's runner may have ended before taking the build.
    if (!history::is_locked(layout_.lock(repository))) history.finish_cancelled(repository);
  }
  if (is_meant || is_follow_up) feed_.poke();
  return http::json_response(200, protocol::to_json(reply));
}

}  // namespace nixbuild::api
