#include "common/config/cache_settings.hpp"

#include <fmt/format.h>

#include "common/base/error.hpp"
#include "common/net/listen_address.hpp"
#include "common/nix/store_path.hpp"

namespace nixbuild::config {

void add_cache_settings(Settings& settings, CacheOptions& options) {
  settings.table("cache")
      .add("listen", options.listen, "ADDRESS",
           "Listen on 127.0.0.1:PORT, [IPv6]:PORT, tailscale:PORT or unix:/PATH; port 0 picks a "
           "free "
           "port")
      .checked([](const std::string& text) { net::parse_listen_address(text, {}); })
      .add("secret_key_file", options.secret_key_files, "FILE",
           "Sign with the key in this file; with several files, sign with every key. Without one, "
           "create a key in the state directory")
      .add("store_dir", options.store_dir, "DIR", "The directory that store paths begin with")
      .checked([](const std::string& text) { nix::StoreDir{text}; })
      .add("real_store_dir", options.real_store_dir, "DIR",
           "Read the store's files from this directory, for a store below another root")
      .add("nix_state_dir", options.nix_state_dir, "DIR",
           "Nix's state directory, with db/ and daemon-socket/")
      .add("nix_log_dir", options.nix_log_dir, "DIR",
           "Nix's build logs (default: log/nix beside --nix-state-dir)")
      .add_size("nar_cache_size", options.nar_cache_size,
                "Keep up to this much of compressed NARs on disk; 0 keeps none")
      .add_choice("compression", options.compression,
                  {{"zstd", compress::Compression::zstd},
                   {"xz", compress::Compression::xz},
                   {"none", compress::Compression::none}},
                  "Compression that narinfos advertise; every form can be downloaded")
      .add("compression_level", options.compression_level, 0, 22,
           "Compression level: 1 to 22 for zstd, 0 to 9 for xz (default: 3, 6)")
      .add("priority", options.priority, 0, 1'000'000,
           "Priority of this cache: Nix asks caches with lower numbers first; cache.nixos.org has "
           "40")
      .add("threads", options.threads, 0, 1024,
           "Number of serving threads, and of compressions at once; 0 means one per core")
      .add("skip_signed_by", options.skip_signed_by, "KEYNAME",
           "Answer 404 for paths that are signed with this key, such as cache.nixos.org-1, so that "
           "clients substitute them from there; `nix copy --from` this cache alone fails for their "
           "closures")
      .add("only_signed_by", options.only_signed_by, "KEY",
           "Serve only paths that this key, NAME:BASE64, has signed; create no key and sign "
           "nothing. record_keys stands for the keys in [client]")
      .checked([](const std::string& text) {
        if (text != record_keys_word) check_public_key(text);
      })
      .add("public_url", options.public_url, "URL",
           "URL to show on the front page, for a cache behind a proxy (default: the URL that the "
           "client requested, with https if a proxy on this machine says so)")
      .add("allowed_host", options.allowed_hosts, "NAME",
           "Also accept requests for this host name or address")
      .add("trusted_proxies", options.trusted_proxies, "ADDRESS",
           "Address or range of proxies, which may open any number of connections")
      .checked([](const std::string& text) { net::address_in_range("", text); })
      .add("access_log", options.access_log, "Log every request");
}

void check_level(compress::Compression compression, int level) {
  if (compression == compress::Compression::none) return;
  const bool is_xz = compression == compress::Compression::xz;
  const int lowest = is_xz ? 0 : 1;
  const int highest = is_xz ? 9 : 22;
  if (level < lowest || level > highest) {
    throw UsageError(fmt::format("{}: {} supports levels {} to {}", level, is_xz ? "xz" : "zstd",
                                 lowest, highest));
  }
}

}  // namespace nixbuild::config
