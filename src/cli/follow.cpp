#include "cli/follow.hpp"

#include <fmt/format.h>

#include "cli/interrupt.hpp"
#include "cli/progress_view.hpp"
#include "common/base/terminal.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

using net::EventStream;
using protocol::BuildStatus;

BuildStatus parse_status(const ApiClient& api, const std::string& json) {
  try {
    return protocol::from_json<BuildStatus>(json);
  } catch (const FormatError& error) {
    throw net::RefusedError(
        fmt::format("{}: unexpected event stream: {}", api.server().host_port(), error.what()));
  }
}

[[noreturn]] void stop_following(ProgressView& view, const BuildStatus& status) {
  view.close();
  const std::string build =
      status.build_id ? fmt::format("build #{}", *status.build_id) : std::string("the build");
  const std::string repository = terminal::printable(status.repository);
  view.say(fmt::format("! Stopped following; {} continues (`nixbuild cancel {}` stops it)", build,
                       repository));
  InterruptGuard::die();
}

}  // namespace

BuildStatus follow(const ApiClient& api, const FollowRequest& request, ProgressView& view) {
  EventStream stream = api.stream(
      protocol::with_query(protocol::path_of(protocol::Operation::stream, request.repository),
                           {{"build", request.build ? std::to_string(*request.build) : ""},
                            {"lines", request.lines ? std::to_string(*request.lines) : ""},
                            {"events", request.with_log ? "" : "status"}}));
  BuildStatus status;
  status.repository = request.repository;
  status.build_id = request.build;
  const InterruptGuard interrupt;
  for (bool more_at_hand = false;;) {
    const EventStream::News news =
        stream.wait(more_at_hand ? std::chrono::milliseconds(0) : ProgressView::refresh_interval,
                    interrupt.fd());
    if (interrupt.is_interrupted()) stop_following(view, status);
    more_at_hand = news.kind != EventStream::News::Kind::nothing;
    switch (news.kind) {
      case EventStream::News::Kind::nothing:
        view.refresh();
        break;
      case EventStream::News::Kind::lost:
        view.say(fmt::format("! Connection lost ({}); reconnecting", news.reason));
        break;
      case EventStream::News::Kind::regained:
        view.say("✓ Reconnected");
        break;
      case EventStream::News::Kind::event:
        view.set_clock_offset(stream.clock_offset());
        if (news.event.type == "log") {
          view.log_line(news.event.data);
        } else if (news.event.type == "status" || news.event.type == "end") {
          status = parse_status(api, news.event.data);
          if (news.event.type == "end") {
            view.close();
            return status;
          }
          if (request.on_status) request.on_status(status);
        }
        break;
    }
  }
}

}  // namespace nixbuild::cli
