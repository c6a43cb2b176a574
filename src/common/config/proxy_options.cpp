#include "common/config/proxy_options.hpp"

#include "common/net/listen_address.hpp"
#include "common/net/server_address.hpp"
#include "common/nix/store_path.hpp"

namespace nixbuild::config {

void add_proxy_settings(Settings& settings, ProxyOptions& options) {
  settings.table("proxy")
      .add("listen", options.listen, "ADDRESS",
           "Listen on 127.0.0.1:PORT, [IPv6]:PORT, tailscale:PORT or unix:/PATH; port 0 picks a "
           "free port")
      .checked([](const std::string& text) { net::parse_listen_address(text, {}); })
      .add("upstream", options.upstreams, "URL",
           "Ask this cache, HOST, HOST:PORT or a URL; several are asked in their order (default: "
           "port 5000 of the build server)")
      .checked([](const std::string& text) { net::parse_server_address(text, net::cache_port); })
      .add_size("cache_size", options.cache_size,
                "Keep up to this much of NARs and narinfos on disk, and serve them while their "
                "upstream is away; 0 keeps none")
      .add("cache_dir", options.cache_dir, "DIR",
           "Directory for what is kept (default: $CACHE_DIRECTORY, else ~/.cache/nixbuild-proxy)")
      .add("store_dir", options.store_dir, "DIR", "The directory that store paths begin with")
      .checked([](const std::string& text) { nix::StoreDir{text}; })
      .add("priority", options.priority, 0, 1'000'000,
           "Priority of this cache: Nix asks caches with lower numbers first; cache.nixos.org has "
           "40")
      .add("allowed_host", options.allowed_hosts, "NAME",
           "Also accept requests for this host name or address")
      .add("access_log", options.access_log, "Log every request");
}

}  // namespace nixbuild::config
