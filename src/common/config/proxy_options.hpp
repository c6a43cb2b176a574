// What `serve-proxy` can be told: the table [proxy].
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "common/config/setting.hpp"

namespace nixbuild::config {

struct ProxyOptions {
  std::string tailscale_interface = "tailscale0";  // from the file's top level
  std::vector<std::string> listen = {"127.0.0.1:5001", "[::1]:5001"};
  std::vector<std::string> upstreams;  // asked in this order; none: the cache of [client] server
  std::uint64_t cache_size = 0;        // bytes on disk; 0: nothing is kept
  std::filesystem::path cache_dir;     // empty: see resolve_cache_dir
  std::string store_dir = "/nix/store";
  int priority = 30;                       // lower is asked first; cache.nixos.org says 40
  std::vector<std::string> allowed_hosts;  // names of the proxy beside those it knows itself
  bool access_log = false;
};

// Binds every setting to its field of `options`, which must outlive `settings`.
void add_proxy_settings(Settings& settings, ProxyOptions& options);

}  // namespace nixbuild::config
