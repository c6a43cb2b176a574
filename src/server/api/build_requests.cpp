#include "server/api/build_requests.hpp"

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

constexpr std::size_t name_limit = 128;  // bytes, of who triggers

// Counts a change once it is done, whether it went well or not.
class ChangeCount {
 public:
  explicit ChangeCount(std::atomic<std::uint64_t>& changes) : changes_(changes) {}
  ~ChangeCount() { ++changes_; }
  ChangeCount(const ChangeCount&) = delete;
  ChangeCount& operator=(const ChangeCount&) = delete;

 private:
  std::atomic<std::uint64_t>& changes_;
};

}  // namespace

std::string cleaned_user(std::string_view text) {
  std::string out = history::clean_line(text.substr(0, name_limit));
  std::erase(out, '\t');
  return out;
}

http::Response BuildRequests::trigger(history::History& history, const history::Trigger& trigger) {
  const ChangeCount count(changes_);
  // What is dead must not stand in the way of a new build.
  history::StatusReader(layout_, history, trigger.repository).end_what_is_dead();
  const history::History::Queued queued = history.insert_queued(trigger);
  protocol::TriggerReply reply;
  reply.repository = trigger.repository;
  reply.build_id = queued.id;
  if (!queued.inserted) {
    reply.status = protocol::TriggerResult::already_running;
    reply.message =
        fmt::format("Build #{} of {} is running already", queued.id, trigger.repository);
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
  return http::json_response(200, protocol::to_json(reply));
}

http::Response BuildRequests::cancel(history::History& history, const std::string& repository) {
  const ChangeCount count(changes_);
  const auto current = history::StatusReader(layout_, history, repository).read();
  protocol::CancelReply reply;
  reply.repository = repository;
  reply.build_id = current.build_id;
  reply.status =
      current.is_running ? protocol::CancelResult::cancelled : protocol::CancelResult::not_running;
  reply.message = current.is_running
                      ? fmt::format("Build #{} of {} is being ended", *current.build_id, repository)
                      : fmt::format("No build of {} is running", repository);
  if (current.is_running) {
    runner_.stop(repository);
    history.cancel(*current.build_id);
    // Nobody else would: its runner may have ended before it took the build.
    if (!history::is_locked(layout_.lock(repository))) history.finish_cancelled(repository);
    feed_.poke();
  }
  return http::json_response(200, protocol::to_json(reply));
}

http::Response BuildRequests::logs(history::History& history, const std::string& repository,
                                   std::size_t lines) {
  protocol::LogLines reply;
  if (const auto newest = history.newest(repository)) {
    reply.logs = history::read_log_tail(layout_.log(repository, newest->id), lines).lines;
  }
  return http::json_response(200, protocol::to_json(reply));
}

http::Response BuildRequests::stream(history::History& history, StreamRequest request,
                                     std::optional<std::int64_t> lines) {
  const auto newest = history.newest(request.repository);
  if (request.build && (!newest || *request.build != newest->id)) {
    const auto wanted = history.get(*request.build);
    if (!wanted || wanted->repository != request.repository) {
      return error_response(404, fmt::format("no build #{} of {} in the history", *request.build,
                                             request.repository));
    }
  }
  if (!request.build && newest) request.build = newest->id;
  if (lines && request.build) {
    const auto log = layout_.log(request.repository, *request.build);
    const history::LogTail tail = history::read_log_tail(log, static_cast<std::size_t>(*lines));
    request.offset = tail.end;
    for (const std::string& line : tail.lines)
      request.offset -= line.size() + 1;
  }
  return event_stream_response(feed_, std::move(request));
}

}  // namespace nixbuild::api
