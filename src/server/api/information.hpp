// GET /info, /health, /metrics and /openapi.json: information about the server.
#pragma once

#include <string>

#include "server/api/build_feed.hpp"
#include "server/api/cache_probe.hpp"
#include "server/api/settings.hpp"
#include "server/async/per_thread.hpp"
#include "server/history/history.hpp"
#include "server/http/response.hpp"
#include "server/http/router.hpp"
#include "server/http/serve.hpp"

namespace nixbuild::api {

// Thread-safe, with one history per thread. Blocking, because it queries the cache.
class Information {
 public:
  // All must outlive this object.
  Information(const http::Service& service, const CurrentSettings& settings, CacheProbe& cache,
              const BuildFeed& feed)
      : service_(service), settings_(settings), cache_(cache), feed_(feed) {}

  // `host`: the name by which the client reaches this server, without the port.
  http::Response info(const std::string& host);
  // Works even if the history cannot be opened: that is one of the reported problems.
  http::Response health(async::PerThread<history::History>& histories);
  // Throws history::SqliteError.
  http::Response metrics(history::History& history, const http::Router& router);
  http::Response openapi();

 private:
  const http::Service& service_;  // whose server's addresses and statistics are shown
  const CurrentSettings& settings_;
  CacheProbe& cache_;
  const BuildFeed& feed_;
};

}  // namespace nixbuild::api
