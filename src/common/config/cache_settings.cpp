#include "common/config/cache_settings.hpp"

#include <fmt/format.h>

#include "common/base/error.hpp"
#include "common/net/listen_address.hpp"
#include "common/nix/store_path.hpp"

namespace nixbuild::config {

void add_cache_settings(Settings& settings, CacheOptions& options) {
  settings.table("cache")
      .add("listen", options.listen, "ADDRESS",
           "127.0.0.1:PORT, [IPv6]:PORT, tailscale:PORT or unix:/PATH; port 0 picks a free one")
      .checked([](const std::string& text) { net::parse_listen_address(text, {}); })
      .add("secret_key_file", options.secret_key_files, "FILE",
           "Sign with this key, and with each that is named. Without any, one is made in the "
           "state directory")
      .add("store_dir", options.store_dir, "DIR", "The store's directory, as its paths name it")
      .checked([](const std::string& text) { nix::StoreDir{text}; })
      .add("real_store_dir", options.real_store_dir, "DIR",
           "Where the store's files really are, for a store below another root")
      .add("nix_state_dir", options.nix_state_dir, "DIR", "Nix's own state: db/ and daemon-socket/")
      .add("nix_log_dir", options.nix_log_dir, "DIR",
           "Nix's build logs (default: log/nix beside --nix-state-dir)")
      .add_size("nar_cache_size", options.nar_cache_size,
                "How much of compressed NARs is kept; 0 keeps none")
      .add_choice("compression", options.compression,
                  {{"zstd", compress::Compression::zstd},
                   {"xz", compress::Compression::xz},
                   {"none", compress::Compression::none}},
                  "What narinfos advertise; every form is served all the same")
      .add("compression_level", options.compression_level, 0, 22,
           "1 to 22 for zstd, 0 to 9 for xz (default: 3, 6)")
      .add("priority", options.priority, 0, 1'000'000,
           "Caches with a lower number are asked first; cache.nixos.org has 40")
      .add("threads", options.threads, 0, 1024,
           "Threads for serving, and compressions at once; 0 is one a core")
      .add(
          "skip_signed_by", options.skip_signed_by, "KEYNAME",
          "Answer 404 for paths that this key has signed, such as cache.nixos.org-1, which clients "
          "then take from there; `nix copy --from` this cache alone fails for such closures")
      .add("public_url", options.public_url, "URL",
           "The cache's URL on its front page, for a cache behind a proxy (default: as the client "
           "asked, https where a proxy on this machine says so)")
      .add("allowed_host", options.allowed_hosts, "NAME",
           "Another name or address under which clients reach this server")
      .add("trusted_proxies", options.trusted_proxies, "ADDRESS",
           "Addresses or ranges of proxies, which may hold any number of connections")
      .checked([](const std::string& text) { net::address_in_range("", text); })
      .add("access_log", options.access_log, "Log a line for each request");
}

void check_level(compress::Compression compression, int level) {
  if (compression == compress::Compression::none) return;
  const bool is_xz = compression == compress::Compression::xz;
  const int lowest = is_xz ? 0 : 1;
  const int highest = is_xz ? 9 : 22;
  if (level < lowest || level > highest) {
    throw UsageError(fmt::format("{}: {} has the levels {} to {}", level, is_xz ? "xz" : "zstd",
                                 lowest, highest));
  }
}

}  // namespace nixbuild::config
