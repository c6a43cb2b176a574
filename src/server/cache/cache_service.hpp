// All of serve-cache except the HTTP server: its parts and their routes.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <memory>

#include "common/config/cache_options.hpp"
#include "server/cache/build_logs.hpp"
#include "server/cache/build_records.hpp"
#include "server/cache/compressed_nars.hpp"
#include "server/cache/debug_info.hpp"
#include "server/cache/listings.hpp"
#include "server/cache/narinfos.hpp"
#include "server/cache/nars.hpp"
#include "server/cache/realisations.hpp"
#include "server/cache/signing_keys.hpp"
#include "server/cache/store_files.hpp"
#include "server/cache/verifying_keys.hpp"
#include "server/cache/warming.hpp"
#include "server/http/host_rule.hpp"
#include "server/http/router.hpp"
#include "server/http/serve.hpp"
#include "server/narcache/nar_cache.hpp"
#include "server/store/store_reader.hpp"

namespace nixbuild::cache {

class CacheService final : public http::Service {
 public:
  // Throws UsageError for invalid options, Error for a key or a directory that cannot be used.
  explicit CacheService(const config::CacheOptions& options);
  ~CacheService() override;

  const std::shared_ptr<const http::Router>& router() const noexcept override { return router_; }
  // The control socket's routes; it serves none of the above.
  const std::shared_ptr<const http::Router>& control_router() const noexcept {
    return control_router_;
  }

  // Reloads the keys, and takes allowed hosts, skipped keys and the priority from `options`. If a
  // key or a host cannot be used, it throws and keeps the current ones.
  void reload(const config::CacheOptions& options);
  void stop() override;

 private:
  std::shared_ptr<const http::Router> make_router();
  std::shared_ptr<const http::Router> make_control_router();
  std::string url_for(const http::Request& request) const;
  http::Response health();
  http::Response metrics() const;
  http::Response status() const;

  const config::CacheOptions options_;
  std::atomic<int> priority_;
  const VerifyingKeys only_signed_by_;
  SigningKeys keys_;
  store::StoreReader store_;
  narcache::NarCache nar_cache_;
  UnservablePaths unservable_;
  CompressedNars compressed_;
  Narinfos narinfos_;
  Nars nars_;
  Realisations realisations_;
  const std::shared_ptr<http::HostRule> host_rule_;
  boost::asio::thread_pool workers_;
  Listings listings_;
  BuildLogs build_logs_;
  StoreFiles store_files_;
  DebugInfo debug_info_;
  BuildRecords build_records_;
  Warming warming_;
  std::shared_ptr<const http::Router> router_;
  std::shared_ptr<const http::Router> control_router_;
};

}  // namespace nixbuild::cache
