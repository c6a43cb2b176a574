// All of serve-api except the HTTP server: its resources and their routes.
//
// Each resource of the API (builds, logs, triggers, repositories, information) is a class with a
// function for each operation, which takes the request's parameters and returns the response. These
// functions may block, and are called off the serving threads with the worker thread's own history;
// only the status, which is requested most, is answered on the serving thread.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <string>

#include "common/protocol/routes.hpp"
#include "server/api/build_feed.hpp"
#include "server/api/builds.hpp"
#include "server/api/cache_probe.hpp"
#include "server/api/information.hpp"
#include "server/api/local_peers.hpp"
#include "server/api/logs.hpp"
#include "server/api/parameters.hpp"
#include "server/api/queue_keeper.hpp"
#include "server/api/repositories.hpp"
#include "server/api/runner.hpp"
#include "server/api/serve_api.hpp"
#include "server/api/settings.hpp"
#include "server/api/triggers.hpp"
#include "server/async/per_thread.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"
#include "server/http/host_rule.hpp"
#include "server/http/router.hpp"
#include "server/http/serve.hpp"

namespace nixbuild::api {

class ApiService final : public http::Service {
 public:
  // Throws UsageError for invalid options, Error for a state directory that cannot be used.
  explicit ApiService(ServeOptions options);
  ~ApiService() override;

  const std::shared_ptr<const http::Router>& router() const noexcept override { return router_; }

  // Replaces repositories, token and allowed hosts. If these cannot be used, it throws and keeps
  // the current ones.
  void reload(const ServeOptions& options);
  void end_streams() override { feed_.stop(); }
  void stop() override;

 private:
  std::shared_ptr<const http::Router> make_router();
  http::Handler handler_for(const protocol::Route& route);
  http::Reply answer(const protocol::Route& route, const http::Request& request,
                     http::PathParameters path);
  http::Reply trigger(const http::Request& request, const config::Repository& repository);
  http::Reply stream(const Parameters& parameters, const std::string& repository);
  // Runs `work` off the serving threads, with that thread's own history; exceptions become error
  // responses.
  http::Reply with_history(std::function<http::Response(history::History&)> work);

  const ServeOptions options_;
  const history::StateLayout layout_;
  const std::shared_ptr<http::HostRule> host_rule_;
  CurrentSettings settings_;
  LocalPeers local_peers_;
  const std::unique_ptr<Runner> runner_;
  CacheProbe cache_probe_;
  BuildFeed feed_;
  async::PerThread<history::History> histories_;
  Builds builds_;
  Logs logs_;
  Triggers triggers_;
  Repositories repositories_;
  Information information_;
  boost::asio::thread_pool workers_;
  std::shared_ptr<const http::Router> router_;
  std::unique_ptr<QueueKeeper> queue_keeper_;
};

}  // namespace nixbuild::api
