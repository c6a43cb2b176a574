#include "server/api/api_service.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/base/nearest.hpp"
#include "common/protocol/names.hpp"
#include "server/api/answers.hpp"
#include "server/api/event_stream.hpp"
#include "server/api/signed_records.hpp"
#include "server/async/offload.hpp"

namespace nixbuild::api {
namespace {

namespace asio = boost::asio;
using protocol::Operation;

constexpr unsigned worker_threads = 4;
constexpr std::size_t trigger_body_limit = 64 * 1024;  // bytes; the content is ignored

history::StateLayout created(const std::filesystem::path& state_dir) {
  // The users of API and builds share the files created here through their group.
  ::umask(0007);
  history::StateLayout layout(state_dir);
  layout.create();
  return layout;
}

// Throws ParameterError.
history::BuildFilter build_filter(const Parameters& parameters) {
  history::BuildFilter filter{parameters.text("repository").value_or(""),
                              parameters.text("target").value_or(""),
                              parameters.text("result").value_or("")};
  const bool is_known =
      filter.result.empty() ||
      (filter.target.empty() ? protocol::value_of<protocol::BuildState>(filter.result) !=
                                   protocol::BuildState::unknown
                             : protocol::value_of<protocol::TargetResult>(filter.result) !=
                                   protocol::TargetResult::unknown);
  if (!is_known) {
    throw ParameterError(fmt::format("result: '{}' is not a {}", filter.result.substr(0, 64),
                                     filter.target.empty() ? "build's state" : "target's result"));
  }
  return filter;
}

}  // namespace

ApiService::ApiService(ServeOptions options)
    : options_(std::move(options)),
      layout_(created(options_.state_dir)),
      host_rule_(
          std::make_shared<http::HostRule>("[api] allowed_host", options_.api.allowed_hosts)),
      settings_(options_),
      runner_(make_runner(options_.api.runner, layout_, options_.run_arguments)),
      cache_probe_(options_.api.cache_url),
      feed_(layout_),
      histories_([this] { return std::make_unique<history::History>(layout_.history()); }),
      builds_(layout_),
      logs_(layout_, feed_),
      triggers_(layout_, *runner_, feed_),
      repositories_(layout_, settings_),
      information_(*this, settings_, cache_probe_, feed_),
      workers_(worker_threads),
      router_(make_router()) {
  try {
    history::History{layout_.history()};  // fail now if the history cannot be used
  } catch (const history::DiskFull& error) {
    // Keep running, so that clients get this error too, instead of no answer.
    log::error("{}; make space there", error.what());
  }
  queue_keeper_ = std::make_unique<QueueKeeper>(layout_, settings_, *runner_, feed_);
  log::info("builds run through the {} runner, state in {}", runner_->name(),
            layout_.root().string());
}

ApiService::~ApiService() {
  stop();
}

void ApiService::stop() {
  feed_.stop();
  queue_keeper_->stop();
  workers_.join();
}

void ApiService::reload(const ServeOptions& options) {
  settings_.replace(options);
  host_rule_->set_allowed(options.api.allowed_hosts);
}

std::shared_ptr<const http::Router> ApiService::make_router() {
  auto router = std::make_shared<http::Router>();
  router->set_error_response(error_response);
  router->set_host_rule(host_rule_);
  for (const protocol::Route& route : protocol::routes()) {
    http::RouteOptions options;
    const bool is_post = route.method == protocol::Method::post;
    if (is_post) options.body_limit = trigger_body_limit;
    router->add(is_post ? http::Method::post : http::Method::get, std::string(route.path),
                handler_for(route), options);
  }
  return router;
}

http::Handler ApiService::handler_for(const protocol::Route& route) {
  return [this, &route](const http::Request& request, http::PathParameters path) -> http::Reply {
    if (local_peers_.is_build(request)) {
      return error_response(403, "builds may not use the API of the server that they run on");
    }
    const bool needs_token = route.operation != Operation::health;
    if (const auto refusal = settings_.get()->access.check(request, needs_token)) {
      return error_response(refusal->status, refusal->reason);
    }
    try {
      return answer(route, request, path);
    } catch (...) {
      return response_to(std::current_exception());
    }
  };
}

http::Reply ApiService::answer(const protocol::Route& route, const http::Request& request,
                               http::PathParameters path) {
  const Parameters parameters(route, request, path);
  const auto settings = settings_.get();
  const config::Repository* repository = nullptr;
  if (route.is_about_repository()) {
    const bool is_named = route.path.find("{repository}") != std::string_view::npos;
    repository = settings->repository(is_named ? path.front() : std::string_view());
    if (repository == nullptr) {
      if (!is_named) {
        return error_response(
            404,
            "the server has no repository; add a [[repository]] with name and url to its "
            "/etc/nixbuild/config.toml, then reload nixbuild-api");
      }
      std::vector<std::string> names;
      for (const config::Repository& one : settings->repositories)
        names.push_back(one.name);
      return error_response(404, unknown_name({"repository", "repositories"}, path.front(), names));
    }
  }
  switch (route.operation) {
    case Operation::trigger:
      return trigger(request, *repository);
    case Operation::cancel:
      return with_history([this, name = repository->name,
                           build = parameters.number("build")](history::History& history) {
        return triggers_.cancel(history, name, build);
      });
    case Operation::status:
      return repositories_.status(repository->name, triggers_.changes());
    case Operation::repositories:
      return repositories_.list();
    case Operation::logs:
      return with_history([this, name = repository->name,
                           lines = *parameters.number("lines")](history::History& history) {
        return logs_.tail(history, name, static_cast<std::size_t>(lines));
      });
    case Operation::stream:
      return stream(parameters, repository->name);
    case Operation::builds:
      return with_history([this, filter = build_filter(parameters),
                           limit = static_cast<int>(*parameters.number("limit")),
                           before = parameters.number("before")](history::History& history) {
        return builds_.list(history, filter, limit, before);
      });
    case Operation::build:
      return with_history([this, id = *parameters.number("id")](history::History& history) {
        return builds_.one(history, id);
      });
    case Operation::build_log:
      return with_history([this, id = *parameters.number("id")](history::History& history) {
        return builds_.log(history, id);
      });
    case Operation::build_lock:
      return with_history([this, id = *parameters.number("id")](history::History& history) {
        return builds_.lock(history, id);
      });
    case Operation::build_record:
      return answer_from(workers_, [this, id = *parameters.number("id")] {
        return signed_record(layout_.root() / "control.sock", id);
      });
    case Operation::info:
      return answer_from(workers_,
                         [this, host = std::string(host_without_port(request.header("host")))] {
                           return information_.info(host);
                         });
    case Operation::health:
      return answer_from(workers_, [this] { return information_.health(histories_); });
    case Operation::metrics:
      return with_history(
          [this](history::History& history) { return information_.metrics(history, *router_); });
    case Operation::openapi:
      return information_.openapi();
  }
  return error_response(404, "no such route");
}

http::Reply ApiService::with_history(std::function<http::Response(history::History&)> work) {
  return answer_from(workers_, [this, work = std::move(work)] { return work(histories_.get()); });
}

http::Reply ApiService::trigger(const http::Request& request,
                                const config::Repository& repository) {
  history::Trigger trigger;
  trigger.repository = repository.name;
  trigger.branch = repository.branch;
  trigger.by = cleaned_user(request.header(protocol::user_header));
  trigger.from = host_without_port(request.peer);
  return with_history([this, trigger = std::move(trigger),
                       max_parallel = settings_.get()->max_parallel](history::History& history) {
    return triggers_.trigger(history, trigger, max_parallel);
  });
}

http::Reply ApiService::stream(const Parameters& parameters, const std::string& repository) {
  StreamRequest stream;
  stream.repository = repository;
  stream.build = parameters.number("build");
  stream.with_log = parameters.text("events").value_or("") != "status";
  stream.ended_status = [this](std::int64_t build) {
    return async::offload<std::optional<std::string>>(
        workers_, [this, build] { return Builds::ended_status(histories_.get(), build); });
  };
  auto lines = parameters.number("lines");
  if (const auto last_event = parameters.text("Last-Event-ID")) {
    const auto position = parse_event_id(*last_event);
    if (!position) {
      throw ParameterError(
          fmt::format("Last-Event-ID: '{}': BUILD:OFFSET was expected", last_event->substr(0, 64)));
    }
    if (!stream.build || *stream.build == position->build) {
      stream.build = position->build;
      stream.offset = position->offset;
      lines.reset();
    }
  }
  return with_history([this, stream, lines](history::History& history) {
    return logs_.stream(history, stream, lines);
  });
}

}  // namespace nixbuild::api
