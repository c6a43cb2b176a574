#include "server/cache/cache_service.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/base/version.hpp"
#include "common/compress/compression.hpp"
#include "common/net/server_address.hpp"
#include "server/cache/info_pages.hpp"
#include "server/cache/metrics.hpp"
#include "server/cache/responses.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::cache {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t warm_body_limit = std::size_t{1} << 20;  // bytes, about 10,000 paths
constexpr unsigned worker_threads = 2;

config::CacheOptions completed(config::CacheOptions options) {
  if (options.state_dir.empty()) throw UsageError("serve-cache: no state directory is given");
  if (!options.only_signed_by.empty() && !options.secret_key_files.empty()) {
    throw UsageError(
        "serve-cache: --only-signed-by excludes --secret-key-file; a cache that serves only what "
        "others have signed signs nothing");
  }
  if (options.threads == 0) options.threads = std::max(1U, std::thread::hardware_concurrency());
  if (options.real_store_dir.empty()) options.real_store_dir = options.store_dir;
  if (options.nix_log_dir.empty()) {
    options.nix_log_dir = (options.nix_state_dir / "../log/nix").lexically_normal();
  }
  std::error_code error;
  fs::create_directories(options.state_dir, error);
  if (error) {
    throw Error(fmt::format("state directory {}: {}; name another with --state-dir",
                            options.state_dir.string(), error.message()));
  }
  return options;
}

store::StoreLayout layout_of(const config::CacheOptions& options) {
  return {nix::StoreDir(options.store_dir), options.real_store_dir, options.nix_state_dir,
          options.nix_log_dir};
}

// Hides what none of `keys` has signed.
store::PathFilter filter_of(const VerifyingKeys& keys, const nix::StoreDir& store_dir) {
  if (keys.empty()) return {};
  return [&keys, store_dir](const nix::PathInfo& info) {
    return !info.signatures.empty() &&
           keys.verify(nix::fingerprint(store_dir, info), info.signatures);
  };
}

CompressedNars::Options compression_options(const config::CacheOptions& options) {
  CompressedNars::Options chosen;
  chosen.advertised = options.compression;
  chosen.zstd_level = compress::default_level(compress::Compression::zstd);
  chosen.xz_level = compress::default_level(compress::Compression::xz);
  if (!options.compression_level) return chosen;
  if (options.compression == compress::Compression::zstd) {
    chosen.zstd_level = *options.compression_level;
  }
  if (options.compression == compress::Compression::xz) {
    chosen.xz_level = *options.compression_level;
  }
  return chosen;
}

bool is_loopback(std::string_view peer) {
  return peer == "unix" || peer.starts_with("127.") || peer.starts_with("[::1]:");
}

compress::Recipe advertised_recipe(const config::CacheOptions& options,
                                   const CompressedNars& compressed) {
  if (options.compression == compress::Compression::none) return {};
  return compressed.recipe(options.compression);
}

// The configured host names of this server.
std::vector<std::string> hosts_of(const config::CacheOptions& options) {
  std::vector<std::string> hosts = options.allowed_hosts;
  if (!options.public_url.empty()) {
    hosts.push_back(net::parse_server_address(options.public_url).host);
  }
  return hosts;
}

}  // namespace

CacheService::CacheService(const config::CacheOptions& options)
    : options_(completed(options)),
      priority_(options_.priority),
      only_signed_by_(options_.only_signed_by),
      keys_(only_signed_by_.empty() ? SigningKeys(options_.secret_key_files, options_.state_dir)
                                    : SigningKeys()),
      store_(layout_of(options_), store::StoreReader::default_patience,
             filter_of(only_signed_by_, nix::StoreDir(options_.store_dir))),
      nar_cache_(options_.state_dir / "nar-cache", options_.nar_cache_size),
      compressed_(nar_cache_, store_.layout(), options_.threads, compression_options(options_),
                  unservable_),
      narinfos_(store_, nar_cache_, keys_, unservable_, advertised_recipe(options_, compressed_),
                options_.skip_signed_by),
      nars_(store_, narinfos_, compressed_, unservable_),
      realisations_(store_, keys_, only_signed_by_),
      host_rule_(std::make_shared<http::HostRule>("[cache] allowed_host", hosts_of(options_))),
      workers_(worker_threads),
      listings_(store_, narinfos_, workers_),
      build_logs_(store_, workers_),
      store_files_(store_, narinfos_, workers_),
      debug_info_(store_, narinfos_, workers_),
      build_records_(history::StateLayout(options_.state_dir).history(), keys_, workers_),
      warming_(store_, narinfos_, compressed_, options_.compression, workers_),
      router_(make_router()),
      control_router_(make_control_router()) {
  for (const nix::PublicKey& key : keys_.public_keys()) {
    log::info("signing with {}", key.to_string());
  }
  for (const nix::PublicKey& key : only_signed_by_.all()) {
    log::info("serving what {} has signed", key.to_string());
  }
}

CacheService::~CacheService() {
  stop();
}

std::shared_ptr<const http::Router> CacheService::make_router() {
  using http::PathParameters;
  using http::Request;
  auto router = std::make_shared<http::Router>();
  router->set_host_rule(host_rule_);
  router->get("/{hash}.narinfo", [this](const Request& request, PathParameters path) {
    return narinfos_.handle(request, path[0]);
  });
  router->get("/nar/{name}", [this](const Request& request, PathParameters path) {
    return nars_.handle(request, path[0]);
  });
  router->get("/nix-cache-info", [this](const Request&, PathParameters) {
    http::Response response = http::text_response(
        200, render_nix_cache_info(store_.layout().store_dir, priority_, keys_.public_keys()));
    response.content_type = "text/x-nix-cache-info";
    return response;
  });
  router->get("/{hash}.ls",
              [this](const Request&, PathParameters path) { return listings_.handle(path[0]); });
  // A derivation's name may contain a '?', which Nix does not escape in the URL.
  router->get("/log/{name}", [this](const Request& request, PathParameters path) -> http::Reply {
    // Logs are of what was built here, and nobody signs them.
    if (!only_signed_by_.empty()) return not_found("no such log\n");
    if (request.query.empty()) return build_logs_.handle(path[0]);
    return build_logs_.handle(fmt::format("{}?{}", path[0], request.query));
  });
  for (const char* pattern : {"/serve/{hash}", "/serve/{hash}/"}) {
    router->get(pattern, [this](const Request&, PathParameters path) {
      return store_files_.handle(path[0], {});
    });
  }
  router->get("/serve/{hash}/{file...}", [this](const Request&, PathParameters path) {
    return store_files_.handle(path[0], path[1]);
  });
  router->get("/debuginfo/{id}", [this](const Request&, PathParameters path) {
    return debug_info_.handle_index(path[0]);
  });
  router->get("/buildid/{id}/debuginfo", [this](const Request&, PathParameters path) {
    return debug_info_.handle_file(path[0]);
  });
  router->get("/realisations/{id}.doi", [this](const Request&, PathParameters path) {
    return realisations_.handle_realisation(path[0]);
  });
  router->get("/build-trace-v2/{derivation}/{output}.doi",
              [this](const Request&, PathParameters path) {
                return realisations_.handle_build_trace(path[0], path[1]);
              });
  router->get("/", [this](const Request& request, PathParameters) {
    http::Response response = http::text_response(
        200,
        only_signed_by_.empty()
            ? render_front_page(url_for(request), store_.layout().store_dir, keys_.public_keys())
            : render_keyless_front_page(url_for(request), store_.layout().store_dir,
                                        only_signed_by_.all()));
    response.content_type = "text/html; charset=utf-8";
    response.headers.emplace_back("Content-Security-Policy",
                                  "default-src 'none'; style-src 'unsafe-inline'");
    return response;
  });
  router->set_error_response([](unsigned status, std::string_view reason) {
    http::Response response = http::text_response(status, std::string(reason) + '\n');
    if (status == 404) response.cache_control = not_kept;
    return response;
  });
  router->get("/health", [this](const Request&, PathParameters) { return health(); });
  router->get("/version", [](const Request&, PathParameters) {
    return http::text_response(200, NIXBUILD_VERSION "\n");
  });
  router->get("/metrics", [this](const Request&, PathParameters) { return metrics(); });
  return router;
}

std::shared_ptr<const http::Router> CacheService::make_control_router() {
  auto router = std::make_shared<http::Router>();
  http::RouteOptions route;
  route.body_limit = warm_body_limit;
  router->add(
      http::Method::post, "/warm",
      [this](const http::Request& request, http::PathParameters) {
        return warming_.handle(request);
      },
      route);
  router->get("/records/{id}", [this](const http::Request& request, http::PathParameters path) {
    return build_records_.handle(request, path[0]);
  });
  router->get("/status", [this](const http::Request&, http::PathParameters) { return status(); });
  return router;
}

// The URL by which this client, or the client behind the proxy, reaches the cache.
std::string CacheService::url_for(const http::Request& request) const {
  if (!options_.public_url.empty()) return options_.public_url;
  const bool https = is_loopback(request.peer) && request.header("x-forwarded-proto") == "https";
  const std::string_view host = request.header("host");
  return fmt::format("{}://{}", https ? "https" : "http", host.empty() ? "localhost:5000" : host);
}

// Always 200: being reachable and being healthy are separate questions.
http::Response CacheService::health() {
  nlohmann::json problems = nlohmann::json::array();
  try {
    store_.now([](store::StoreDatabase& database) { return database.generation(); });
  } catch (const store::StoreUnavailable& error) {
    problems.push_back(error.what());
  }
  if (!compressed_.keeping()) problems.push_back("the NAR cache cannot keep files, see the log");
  const nlohmann::json json = {{"status", problems.empty() ? "healthy" : "degraded"},
                               {"problems", problems},
                               {"store_dir", store_.layout().store_dir.path()},
                               {"version", NIXBUILD_VERSION}};
  return http::json_response(200,
                             json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

http::Response CacheService::metrics() const {
  Metrics metrics;
  if (const http::Server* server = this->server()) metrics.server = server->statistics();
  metrics.narinfos = narinfos_.statistics();
  metrics.nar_cache = nar_cache_.statistics();
  metrics.nar_cache_limit = nar_cache_.limit();
  metrics.compression = compressed_.statistics();
  metrics.database_failures = store_.failures();
  http::Response response = http::text_response(200, render_metrics(metrics, *router_));
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  return response;
}

http::Response CacheService::status() const {
  const Warming::Statistics warming = warming_.statistics();
  const CompressedNars::Statistics compression = compressed_.statistics();
  const narcache::NarCache::Statistics files = nar_cache_.statistics();
  const nlohmann::json json = {
      {"warm",
       {{"requests", warming.requests}, {"paths", warming.paths}, {"queued", warming.queued}}},
      {"compressions",
       {{"running", compression.jobs.running},
        {"queued", compression.jobs.queued},
        {"queued_background", compression.jobs.queued_background},
        {"made", compression.made},
        {"failed", compression.failed}}},
      {"nar_cache",
       {{"files", files.entries}, {"bytes", files.bytes}, {"limit", nar_cache_.limit()}}}};
  return http::json_response(200, json.dump());
}

void CacheService::reload(const config::CacheOptions& options) {
  host_rule_->set_allowed(hosts_of(options));
  keys_.reload(options.secret_key_files);
  narinfos_.skip_signed_by(options.skip_signed_by);
  priority_ = options.priority;
  for (const nix::PublicKey& key : keys_.public_keys()) {
    log::info("signing with {}", key.to_string());
  }
}

void CacheService::stop() {
  compressed_.stop();
  workers_.join();
}

}  // namespace nixbuild::cache
