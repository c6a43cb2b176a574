#include "server/api/api_service.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/base/time.hpp"
#include "common/config/service_settings.hpp"
#include "common/protocol/json.hpp"
#include "common/protocol/schema.hpp"
#include "server/api/event_stream.hpp"
#include "server/build/build_lock.hpp"
#include "server/build/build_log.hpp"
#include "server/build/status_file.hpp"
#include "server/http/offload.hpp"
#include "server/http/prometheus.hpp"

namespace nixbuild::api {
namespace {

namespace asio = boost::asio;
using protocol::Operation;

constexpr unsigned worker_threads = 4;
constexpr std::size_t trigger_body_limit = 64 * 1024;  // bytes; nothing in it is used
constexpr std::size_t name_limit = 128;                // bytes, of who triggers
constexpr const char* retry_after = "5";               // seconds

http::Response error_response(unsigned status, std::string_view detail) {
  http::Response response =
      http::json_response(status, protocol::to_json(protocol::ErrorReply{std::string(detail)}));
  if (status == 503) response.headers.emplace_back("Retry-After", retry_after);
  if (status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

// What a handler threw, as a response. What is not the client's, systemd's or the disk's fault goes
// on, and is answered 500.
http::Response response_to(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const ParameterError& error) {
    return error_response(422, error.what());
  } catch (const RunnerError& error) {
    log::warn("{}", error.what());
    return error_response(503, error.what());
  } catch (const build::HistoryError& error) {
    log::warn("{}", error.what());
    return error_response(503, error.what());
  } catch (const SystemError& error) {
    log::warn("{}", error.what());
    return error_response(503, error.what());
  }
}

http::Response not_found(std::string_view what) {
  return error_response(404, what);
}

// Text of a client, for the history: printable, and not too long.
std::string cleaned(std::string_view text) {
  std::string out = build::clean_line(text.substr(0, name_limit));
  std::erase(out, '\t');
  return out;
}

std::string_view host_without_port(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.rfind(':'));
}

std::string nix_system() {
#if defined(__x86_64__)
  return "x86_64-linux";
#elif defined(__aarch64__)
  return "aarch64-linux";
#elif defined(__riscv)
  return "riscv64-linux";
#else
  return "i686-linux";
#endif
}

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

build::StateLayout created(const std::filesystem::path& state_dir) {
  // The users of API and builds share what is made here by their group.
  ::umask(0007);
  build::StateLayout layout(state_dir);
  layout.create();
  return layout;
}

asio::awaitable<http::Response> await_response(asio::thread_pool& workers,
                                               std::function<http::Response()> work) {
  std::exception_ptr error;
  try {
    asio::awaitable<http::Response> reply = http::offload<http::Response>(workers, std::move(work));
    co_return co_await std::move(reply);
  } catch (...) {
    error = std::current_exception();
  }
  co_return response_to(error);
}

}  // namespace

// The status of each repository as one serving thread has last read it.
struct ApiService::StatusReaders {
  explicit StatusReaders(const build::StateLayout& layout_)
      : layout(layout_), history(layout_.history()) {}

  http::SharedText json(const std::string& repository) {
    auto found = entries.find(repository);
    if (found == entries.end()) {
      found = entries
                  .emplace(repository,
                           Entry{build::StatusReader(layout, history, repository), 0, nullptr})
                  .first;
    }
    Entry& entry = found->second;
    const std::uint64_t generation = entry.reader.generation();
    if (!entry.json || entry.generation != generation) {
      entry.json = std::make_shared<const std::string>(protocol::to_json(entry.reader.read()));
      entry.generation = generation;
    }
    return entry.json;
  }

  struct Entry {
    build::StatusReader reader;
    std::uint64_t generation = 0;
    http::SharedText json;
  };
  const build::StateLayout& layout;
  build::History history;
  std::map<std::string, Entry> entries;
};

ApiService::ApiService(ServeOptions options)
    : options_(std::move(options)),
      layout_(created(options_.state_dir)),
      settings_(make_settings(options_)),
      runner_(make_runner(options_.api.runner, layout_, options_.run_arguments)),
      cache_probe_(options_.api.cache_url),
      feed_(layout_),
      histories_([this] { return std::make_unique<build::History>(layout_.history()); }),
      status_readers_([this] { return std::make_unique<StatusReaders>(layout_); }),
      workers_(worker_threads),
      router_(make_router()) {
  build::History{layout_.history()};  // a history that cannot be used is told now
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
  if (!options.api.token_file.empty()) token = read_token(options.api.token_file);
  return std::make_shared<const Settings>(Settings{
      options.repositories, Access(own_host_names(), options.api.allowed_hosts, std::move(token))});
}

std::shared_ptr<const ApiService::Settings> ApiService::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

void ApiService::reload(const ServeOptions& options) {
  auto fresh = make_settings(options);
  const std::lock_guard lock(mutex_);
  settings_ = std::move(fresh);
}

std::shared_ptr<const http::Router> ApiService::make_router() {
  auto router = std::make_shared<http::Router>();
  router->set_error_response(error_response);
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
  if (!repository) return not_found(fmt::format("no repository '{}' is configured", path.front()));
  switch (route.operation) {
    case Operation::trigger:
      return trigger(request, *repository);
    case Operation::status:
      return status(*repository);
    case Operation::logs:
      return logs(*repository, static_cast<std::size_t>(*parameters.number("lines")));
    case Operation::stream:
      return stream(parameters, *repository);
    case Operation::cancel:
      return cancel(*repository);
    case Operation::builds:
      return builds(parameters);
    case Operation::build:
      return build(*parameters.number("id"));
    case Operation::build_log:
      return build_log(*parameters.number("id"));
    case Operation::build_lock:
      return build_lock(*parameters.number("id"));
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
  return not_found("no such route");
}

http::Reply ApiService::with_history(std::function<http::Response(build::History&)> work) {
  return await_response(workers_,
                        [this, work = std::move(work)] { return work(histories_.get()); });
}

http::Reply ApiService::trigger(const http::Request& request, const std::string& repository) {
  build::Trigger trigger;
  trigger.repository = repository;
  trigger.by = cleaned(request.header(protocol::user_header));
  trigger.from = host_without_port(request.peer);
  return with_history([this, trigger](build::History& history) {
    // What is dead must not stand in the way of a new build.
    build::StatusReader(layout_, history, trigger.repository).read();
    const build::History::Queued queued = history.insert_queued(trigger);
    protocol::TriggerReply reply;
    reply.repository = trigger.repository;
    reply.build_id = queued.id;
    if (!queued.inserted) {
      reply.status = "already_running";
      reply.message =
          fmt::format("Build #{} of {} is running already", queued.id, trigger.repository);
      return http::json_response(200, protocol::to_json(reply));
    }
    try {
      runner_->start(trigger.repository);
    } catch (const RunnerError& error) {
      history.finish(queued.id, fmt::format("could not be started: {}", error.what()), now());
      throw;
    }
    feed_.poke();
    log::info("build #{} of {}, triggered from {}{}{}", queued.id, trigger.repository, trigger.from,
              trigger.by.empty() ? "" : " by ", trigger.by);
    reply.status = "triggered";
    reply.message = fmt::format("Build #{} of {} was triggered", queued.id, trigger.repository);
    return http::json_response(200, protocol::to_json(reply));
  });
}

http::Reply ApiService::status(const std::string& repository) {
  http::Response response = http::json_response(200, {});
  response.body = status_readers_.get().json(repository);
  response.cache_control = "no-cache";
  return response;
}

http::Reply ApiService::logs(const std::string& repository, std::size_t lines) {
  return with_history([this, repository, lines](build::History& history) {
    protocol::LogLines reply;
    if (const auto newest = history.newest(repository)) {
      reply.logs = build::read_log_tail(layout_.log(repository, newest->id), lines).lines;
    }
    return http::json_response(200, protocol::to_json(reply));
  });
}

http::Reply ApiService::stream(const Parameters& parameters, const std::string& repository) {
  StreamRequest stream;
  stream.repository = repository;
  stream.build = parameters.number("build");
  stream.with_log = parameters.text("events").value_or("") != "status";
  auto lines = parameters.number("lines");
  if (const auto last_event = parameters.text("Last-Event-ID")) {
    const std::size_t colon = last_event->find(':');
    std::int64_t build = 0;
    std::uint64_t offset = 0;
    const char* text = last_event->data();
    const bool is_good = colon != std::string::npos &&
                         std::from_chars(text, text + colon, build).ptr == text + colon &&
                         std::from_chars(text + colon + 1, text + last_event->size(), offset).ptr ==
                             text + last_event->size();
    if (!is_good || build < 1) {
      throw ParameterError(
          fmt::format("Last-Event-ID: '{}': BUILD:OFFSET was expected", last_event->substr(0, 64)));
    }
    if (!stream.build || *stream.build == build) {
      stream.build = build;
      stream.offset = offset;
      lines.reset();
    }
  }
  stream.read_ended_status = [this](std::int64_t id) {
    build::History& history = status_readers_.get().history;
    const auto build = history.get(id);
    if (!build) throw Error(fmt::format("build #{} is no longer in the history", id));
    return protocol::to_json(build::ended_status(history, *build));
  };
  return with_history([this, stream, lines](build::History& history) mutable {
    const auto newest = history.newest(stream.repository);
    if (stream.build && (!newest || *stream.build != newest->id)) {
      const auto wanted = history.get(*stream.build);
      if (!wanted || wanted->repository != stream.repository) {
        return not_found(
            fmt::format("no build #{} of {} in the history", *stream.build, stream.repository));
      }
      stream.ended_status = protocol::to_json(build::ended_status(history, *wanted));
    }
    if (!stream.build && newest) stream.build = newest->id;
    if (lines && stream.build) {
      const auto log = layout_.log(stream.repository, *stream.build);
      const build::LogTail tail = build::read_log_tail(log, static_cast<std::size_t>(*lines));
      stream.offset = tail.end;
      for (const std::string& line : tail.lines)
        stream.offset -= line.size() + 1;
    }
    return event_stream_response(feed_, std::move(stream));
  });
}

http::Reply ApiService::cancel(const std::string& repository) {
  return with_history([this, repository](build::History& history) {
    const auto current = build::StatusReader(layout_, history, repository).read();
    protocol::CancelReply reply;
    reply.repository = repository;
    reply.build_id = current.build_id;
    reply.status = current.is_running ? "cancelled" : "not_running";
    reply.message = current.is_running ? fmt::format("Build #{} of {} is being ended",
                                                     *current.build_id, repository)
                                       : fmt::format("No build of {} is running", repository);
    if (current.is_running) {
      runner_->stop(repository);
      // Nobody else would: its runner may have ended before it took the build.
      if (current.phase == "queued" && !build::is_locked(layout_.lock(repository))) {
        history.finish(*current.build_id, "cancelled", now());
      }
      feed_.poke();
    }
    return http::json_response(200, protocol::to_json(reply));
  });
}

http::Reply ApiService::builds(const Parameters& parameters) {
  const std::string repository = parameters.text("repository").value_or("");
  const int limit = static_cast<int>(*parameters.number("limit"));
  const auto before = parameters.number("before");
  return with_history([repository, limit, before](build::History& history) {
    return http::json_response(200, protocol::to_json(history.list(repository, limit, before)));
  });
}

http::Reply ApiService::build(std::int64_t id) {
  return with_history([id](build::History& history) {
    const auto build = history.get(id);
    if (!build) return not_found(fmt::format("no build #{} in the history", id));
    return http::json_response(200, protocol::to_json(*build));
  });
}

http::Reply ApiService::build_log(std::int64_t id) {
  return with_history([this, id](build::History& history) {
    const auto build = history.get(id);
    if (!build) return not_found(fmt::format("no build #{} in the history", id));
    const auto file = layout_.log(build->repository, id);
    UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0) {
      return not_found(fmt::format("build #{} has no log", id));
    }
    // As long as it is now: more may be added while it is sent.
    http::Response response;
    response.body = http::FileBody{std::make_shared<const UniqueFd>(std::move(fd)),
                                   static_cast<std::uint64_t>(status.st_size)};
    response.accept_ranges = true;
    return response;
  });
}

http::Reply ApiService::build_lock(std::int64_t id) {
  return with_history([id](build::History& history) {
    auto lock = history.lock_text(id);
    if (!lock) return not_found(fmt::format("no build #{} with a flake.lock in the history", id));
    return http::json_response(200, std::move(*lock));
  });
}

http::Reply ApiService::repositories() {
  protocol::RepositoryList list;
  for (const config::Repository& repository : settings()->repositories) {
    constexpr std::array<const char*, 3> locks = {"updated", "committed", "both"};
    list.repositories.push_back({repository.name, config::without_credentials(repository.url),
                                 repository.branch,
                                 locks[static_cast<std::size_t>(repository.lock)]});
  }
  return http::json_response(200, protocol::to_json(list));
}

http::Reply ApiService::info(const http::Request& request) {
  const std::string host(host_without_port(request.header("host")));
  return with_history([this, host](build::History&) {
    protocol::Info info;
    const auto names = own_host_names();
    info.hostname = names.empty() ? "" : names.front();
    info.version = NIXBUILD_VERSION;
    info.system = nix_system();
    if (const http::Server* server = server_) info.api_port = port_of(server->addresses());
    const net::ServerAddress& cache = cache_probe_.address();
    // A cache on loopback is reached by its clients as this server is.
    info.cache_url = cache.is_local() && !host.empty()
                         ? fmt::format("http://{}:{}", host, cache.port)
                         : cache.base_url();
    info.public_keys = cache_probe_.ask().public_keys;
    for (const auto& repository : settings()->repositories)
      info.repositories.push_back(repository.name);
    return http::json_response(200, protocol::to_json(info));
  });
}

http::Reply ApiService::health() {
  return await_response(workers_, [this] {
    protocol::Health health;
    const CacheProbe::Result cache = cache_probe_.ask();
    health.cache_running = cache.running;
    if (!cache.running) health.problems.push_back(cache.problem);
    try {
      histories_.get().generation();
    } catch (const Error& error) {
      health.problems.emplace_back(error.what());
    }
    health.status = health.problems.empty() ? "healthy" : "degraded";
    return http::json_response(200, protocol::to_json(health));
  });
}

http::Reply ApiService::metrics() {
  return with_history([this](build::History& history) {
    http::PrometheusText out("nixbuild_api_");
    out.process();
    if (const http::Server* server = server_) out.server(server->statistics(), *router_);
    out.single("followers", "gauge", "Clients that follow a build.", feed_.followers());
    out.family("build_running", "gauge", "Whether a build of the repository runs or is queued.");
    for (const auto& repository : settings()->repositories) {
      const auto build = history.newest(repository.name);
      const bool runs = build && (build->state == "queued" || build->state == "running");
      out.sample(runs ? 1 : 0, fmt::format("repository=\"{}\"", repository.name));
    }
    out.family("build_number", "gauge", "The number of the repository's newest build.");
    for (const auto& repository : settings()->repositories) {
      const auto build = history.newest(repository.name);
      out.sample(build ? build->id : 0, fmt::format("repository=\"{}\"", repository.name));
    }
    out.family("build_succeeded", "gauge", "Whether the newest build that has ended succeeded.");
    for (const auto& repository : settings()->repositories) {
      for (const auto& build : history.list(repository.name, 2, std::nullopt).builds) {
        if (build.state != "success" && build.state != "failed") continue;
        out.sample(build.state == "success" ? 1 : 0,
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
