// All of serve-api but the HTTP server: its parts, put together, and the routes to them.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/protocol/routes.hpp"
#include "common/protocol/types.hpp"
#include "server/api/access.hpp"
#include "server/api/build_feed.hpp"
#include "server/api/build_requests.hpp"
#include "server/api/cache_probe.hpp"
#include "server/api/live_status.hpp"
#include "server/api/parameters.hpp"
#include "server/api/runner.hpp"
#include "server/api/serve_api.hpp"
#include "server/async/per_thread.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"
#include "server/http/host_rule.hpp"
#include "server/http/router.hpp"
#include "server/http/serve.hpp"

namespace nixbuild::api {

class ApiService final : public http::Service {
 public:
  // Throws UsageError for options that cannot be followed, Error for a state directory that cannot
  // be used.
  explicit ApiService(ServeOptions options);
  ~ApiService() override;

  const std::shared_ptr<const http::Router>& router() const noexcept override { return router_; }

  // Takes over repositories, token and allowed hosts; throws, and keeps what it has, when these
  // cannot be used.
  void reload(const ServeOptions& options);
  void end_streams() override { feed_.stop(); }
  void stop() override;

 private:
  // What SIGHUP replaces; handlers hold on to the one they began with.
  struct Settings {
    std::vector<config::Repository> repositories;
    Access access;
  };

  static std::shared_ptr<const Settings> make_settings(const ServeOptions& options);
  std::shared_ptr<const Settings> settings() const;
  std::shared_ptr<const http::Router> make_router();
  http::Handler handler_for(const protocol::Route& route);
  http::Reply answer(const protocol::Route& route, const http::Request& request,
                     http::PathParameters path);

  http::Reply trigger(const http::Request& request, const std::string& repository);
  http::Reply status(const std::string& repository);
  http::Reply stream(const Parameters& parameters, const std::string& repository);
  http::Reply repositories();
  http::Reply info(const http::Request& request);
  http::Reply health();
  http::Reply metrics();

  // The repository that a route is about: the named one, or the first. Nothing when it is unknown.
  std::optional<std::string> repository_of(const protocol::Route& route,
                                           http::PathParameters path) const;
  // Runs `work` away from the serving threads, with a history of that thread's own; what it throws
  // becomes an error response.
  http::Reply with_history(std::function<http::Response(history::History&)> work);

  const ServeOptions options_;
  const history::StateLayout layout_;
  const std::shared_ptr<http::HostRule> host_rule_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Settings> settings_;
  const std::unique_ptr<Runner> runner_;
  CacheProbe cache_probe_;
  BuildFeed feed_;
  BuildRequests build_requests_;
  async::PerThread<history::History> histories_;
  async::PerThread<LiveStatus> live_status_;
  boost::asio::thread_pool workers_;
  std::shared_ptr<const http::Router> router_;
};

}  // namespace nixbuild::api
