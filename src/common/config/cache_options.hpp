// The options of `serve-cache`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/compress/compression.hpp"

namespace nixbuild::config {

// In `only_signed_by`: the keys of `[client] record_keys`.
constexpr const char* record_keys_word = "record_keys";

struct CacheOptions {
  std::filesystem::path state_dir;  // this and the next are set at the file's top level
  std::string tailscale_interface = "tailscale0";
  std::vector<std::string> listen = {"127.0.0.1:5000", "[::1]:5000", "tailscale:5000"};
  std::vector<std::filesystem::path> secret_key_files;  // none: one is made in the state directory
  std::string store_dir = "/nix/store";
  std::filesystem::path real_store_dir;  // empty: store_dir
  std::filesystem::path nix_state_dir = "/nix/var/nix";
  std::filesystem::path nix_log_dir;                       // empty: nix_state_dir/../log/nix
  std::uint64_t nar_cache_size = std::uint64_t{20} << 30;  // bytes; 0: nothing is kept
  // What narinfos advertise; every suffix is served regardless.
  compress::Compression compression = compress::Compression::zstd;
  std::optional<int> compression_level;     // unset: 3 for zstd, 6 for xz
  int priority = 30;                        // lower is asked first; cache.nixos.org says 40
  unsigned threads = 0;                     // for serving and for compression; 0: one for each core
  std::vector<std::string> skip_signed_by;  // key names; answer 404 for paths they have signed
  std::vector<std::string> only_signed_by;  // NAME:BASE64; not empty: serve only what they signed
  std::string public_url;                   // shown to people; empty: what the client requested
  std::vector<std::string> allowed_hosts;   // additional names of this server
  std::vector<std::string> trusted_proxies;  // addresses and ranges without a connection limit
  bool access_log = false;
};

}  // namespace nixbuild::config
