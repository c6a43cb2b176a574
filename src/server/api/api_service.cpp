#include "server/api/api_service.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <charconv>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/base/time.hpp"
#include "common/base/version.hpp"
#include "common/config/service_settings.hpp"
#include "common/keys/token_file.hpp"
#include "common/nix/expression.hpp"
#include "common/protocol/json.hpp"
#include "common/protocol/schema.hpp"
#include "server/api/answers.hpp"
#include "server/api/event_stream.hpp"
#include "server/api/history_answers.hpp"
#include "server/async/offload.hpp"
#include "server/http/prometheus.hpp"
#include "server/sqlite/sqlite.hpp"

namespace nixbuild::api {
namespace {

namespace asio = boost::asio;
using protocol::Operation;

constexpr unsigned worker_threads = 4;
constexpr std::size_t trigger_body_limit = 64 * 1024;  // bytes; nothing in it is used

// The port of the first TCP address; 0 while there is none.
std::uint16_t port_of(const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    if (!address.starts_with("http://")) continue;
    std::uint16_t port = 0;
    const std::size_t colon = address.rfind(':');
    std::from_chars(address.data() + colon + 1, address.data() + address.size(), port);
    if (port != 0) return port;
  }
  return 0;
}

history::StateLayout created(const std::filesystem::path& state_dir) {
  // The users of API and builds share what is made here by their group.
  ::umask(0007);
  history::StateLayout layout(state_dir);
  layout.create();
  return layout;
}

}  // namespace

ApiService::ApiService(ServeOptions options)
    : options_(std::move(options)),
      layout_(created(options_.state_dir)),
      host_rule_(
          std::make_shared<http::HostRule>("[api] allowed_host", options_.api.allowed_hosts)),
      settings_(make_settings(options_)),
      runner_(make_runner(options_.api.runner, layout_, options_.run_arguments)),
      cache_probe_(options_.api.cache_url),
      feed_(layout_),
      build_requests_(layout_, *runner_, feed_),
      histories_([this] { return std::make_unique<history::History>(layout_.history()); }),
      live_status_([this] { return std::make_unique<LiveStatus>(layout_); }),
      workers_(worker_threads),
      router_(make_router()) {
  try {
    history::History{layout_.history()};  // a history that cannot be used is told now
  } catch (const sqlite::DiskFull& error) {
    // Clients are told this too, instead of finding nobody.
    log::error("{}; make space there", error.what());
  }
  log::info("builds run through the {} runner, state in {}", runner_->name(),
            layout_.root().string());
}

ApiService::~ApiService() {
  stop();
}

void ApiService::stop() {
  feed_.stop();
  workers_.join();
}

std::shared_ptr<const ApiService::Settings> ApiService::make_settings(const ServeOptions& options) {
  std::string token;
  if (!options.api.token_file.empty()) token = keys::read_token_file(options.api.token_file);
  return std::make_shared<const Settings>(Settings{options.repositories, Access(std::move(token))});
}

std::shared_ptr<const ApiService::Settings> ApiService::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

void ApiService::reload(const ServeOptions& options) {
  auto fresh = make_settings(options);
  host_rule_->set_allowed(options.api.allowed_hosts);
  const std::lock_guard lock(mutex_);
  settings_ = std::move(fresh);
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
    const bool needs_token = route.operation != Operation::health;
    if (const auto refusal = settings()->access.check(request, needs_token)) {
      return error_response(refusal->status, refusal->reason);
    }
    try {
      return answer(route, request, path);
    } catch (...) {
      return response_to(std::current_exception());
    }
  };
}

std::optional<std::string> ApiService::repository_of(const protocol::Route& route,
                                                     http::PathParameters path) const {
  const auto current = settings();
  if (route.path.find("{repository}") == std::string_view::npos) {
    return current->repositories.front().name;
  }
  for (const config::Repository& repository : current->repositories) {
    if (repository.name == path.front()) return repository.name;
  }
  return std::nullopt;
}

http::Reply ApiService::answer(const protocol::Route& route, const http::Request& request,
                               http::PathParameters path) {
  const Parameters parameters(route, request, path);
  const auto repository = repository_of(route, path);
  if (!repository)
    return error_response(404, fmt::format("no repository '{}' is configured", path.front()));
  switch (route.operation) {
    case Operation::trigger:
      return trigger(request, *repository);
    case Operation::status:
      return status(*repository);
    case Operation::logs:
      return with_history([this, name = *repository,
                           lines = *parameters.number("lines")](history::History& history) {
        return build_requests_.logs(history, name, static_cast<std::size_t>(lines));
      });
    case Operation::stream:
      return stream(parameters, *repository);
    case Operation::cancel:
      return with_history([this, name = *repository](history::History& history) {
        return build_requests_.cancel(history, name);
      });
    case Operation::builds:
      return with_history([of = parameters.text("repository").value_or(""),
                           limit = static_cast<int>(*parameters.number("limit")),
                           before = parameters.number("before")](history::History& history) {
        return list_builds(history, of, limit, before);
      });
    case Operation::build:
      return with_history([id = *parameters.number("id")](history::History& history) {
        return one_build(history, id);
      });
    case Operation::build_log:
      return with_history([this, id = *parameters.number("id")](history::History& history) {
        return log_of_build(history, layout_, id);
      });
    case Operation::build_lock:
      return with_history([id = *parameters.number("id")](history::History& history) {
        return lock_of_build(history, id);
      });
    case Operation::repositories:
      return repositories();
    case Operation::info:
      return info(request);
    case Operation::health:
      return health();
    case Operation::metrics:
      return metrics();
    case Operation::openapi:
      return http::json_response(200, protocol::openapi_document(NIXBUILD_VERSION));
  }
  return error_response(404, "no such route");
}

http::Reply ApiService::with_history(std::function<http::Response(history::History&)> work) {
  return answer_from(workers_, [this, work = std::move(work)] { return work(histories_.get()); });
}

http::Reply ApiService::trigger(const http::Request& request, const std::string& repository) {
  history::Trigger trigger;
  trigger.repository = repository;
  trigger.by = cleaned_user(request.header(protocol::user_header));
  trigger.from = host_without_port(request.peer);
  return with_history([this, trigger](history::History& history) {
    return build_requests_.trigger(history, trigger);
  });
}

http::Reply ApiService::status(const std::string& repository) {
  http::Response response = http::json_response(200, {});
  response.body = live_status_.get().json(repository, build_requests_.changes());
  response.cache_control = "no-cache";
  return response;
}

http::Reply ApiService::stream(const Parameters& parameters, const std::string& repository) {
  StreamRequest stream;
  stream.repository = repository;
  stream.build = parameters.number("build");
  stream.with_log = parameters.text("events").value_or("") != "status";
  stream.ended_status = [this](std::int64_t build) {
    return async::offload<std::optional<std::string>>(
        workers_, [this, build] { return ended_status_json(histories_.get(), build); });
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
    return build_requests_.stream(history, stream, lines);
  });
}

http::Reply ApiService::repositories() {
  protocol::RepositoryList list;
  const auto current = settings();  // held: a reload puts others in their place
  for (const config::Repository& repository : current->repositories) {
    constexpr std::array<const char*, 3> locks = {"updated", "committed", "both"};
    list.repositories.push_back({repository.name, config::without_credentials(repository.url),
                                 repository.branch,
                                 locks[static_cast<std::size_t>(repository.lock)]});
  }
  return http::json_response(200, protocol::to_json(list));
}

http::Reply ApiService::info(const http::Request& request) {
  const std::string host(host_without_port(request.header("host")));
  return with_history([this, host](history::History&) {
    protocol::Info info;
    const auto names = http::own_host_names();
    info.hostname = names.empty() ? "" : names.front();
    info.version = NIXBUILD_VERSION;
    info.system = nix::this_system();
    if (const http::Server* server = this->server()) info.api_port = port_of(server->addresses());
    const net::ServerAddress& cache = cache_probe_.address();
    // A cache on loopback is reached by its clients as this server is.
    info.cache_url = cache.is_local() && !host.empty()
                         ? fmt::format("http://{}:{}", host, cache.port)
                         : cache.base_url();
    info.public_keys = cache_probe_.ask().public_keys;
    const auto current = settings();
    for (const auto& repository : current->repositories)
      info.repositories.push_back(repository.name);
    return http::json_response(200, protocol::to_json(info));
  });
}

http::Reply ApiService::health() {
  return answer_from(workers_, [this] {
    protocol::Health health;
    const CacheProbe::Result cache = cache_probe_.ask();
    health.cache_running = cache.running;
    if (!cache.running) health.problems.push_back(cache.problem);
    try {
      histories_.get().generation();
    } catch (const Error& error) {
      health.problems.emplace_back(error.what());
    }
    health.status =
        health.problems.empty() ? protocol::HealthState::healthy : protocol::HealthState::degraded;
    return http::json_response(200, protocol::to_json(health));
  });
}

http::Reply ApiService::metrics() {
  return with_history([this](history::History& history) {
    http::PrometheusText out("nixbuild_api_");
    out.process();
    if (const http::Server* server = this->server()) out.server(server->statistics(), *router_);
    out.single("followers", "gauge", "Clients that follow a build.", feed_.followers());
    const auto current = settings();
    out.family("build_running", "gauge", "Whether a build of the repository runs or is queued.");
    for (const auto& repository : current->repositories) {
      const auto build = history.newest(repository.name);
      const bool runs = build && !build->finish;
      out.sample(runs ? 1 : 0, fmt::format("repository=\"{}\"", repository.name));
    }
    out.family("build_number", "gauge", "The number of the repository's newest build.");
    for (const auto& repository : current->repositories) {
      const auto build = history.newest(repository.name);
      out.sample(build ? build->id : 0, fmt::format("repository=\"{}\"", repository.name));
    }
    out.family("build_succeeded", "gauge", "Whether the newest build that has ended succeeded.");
    for (const auto& repository : current->repositories) {
      for (const auto& build : history.list(repository.name, 2, std::nullopt).builds) {
        if (!build.finish) continue;
        out.sample(build.state == protocol::BuildState::success ? 1 : 0,
                   fmt::format("repository=\"{}\"", repository.name));
        break;
      }
    }
    http::Response response = http::text_response(200, out.take());
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return response;
  });
}

}  // namespace nixbuild::api
