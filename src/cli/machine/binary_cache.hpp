// A client's view of a binary cache: its keys, and whether its paths are signed by them.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/machine/known_keys.hpp"
#include "common/net/http_client.hpp"
#include "common/nix/narinfo.hpp"

namespace nixbuild::cli {

struct CacheInfo {
  std::string store_dir;
  PublicKeys keys;  // from its PublicKey lines, which Nix itself ignores
};

// From /nix-cache-info. Throws FormatError for an invalid key or store directory.
CacheInfo parse_cache_info(std::string_view text);

class BinaryCache {
 public:
  explicit BinaryCache(const net::ServerAddress& address);

  // Throws UnreachableError, RefusedError.
  CacheInfo info();
  // Nothing if the cache does not have that path.
  std::optional<nix::NarInfo> narinfo(const CacheInfo& info, std::string_view hash_part);

  std::string url() const { return http_.options().server.base_url(); }
  const net::ServerAddress& server() const noexcept { return http_.options().server; }
  // How far the server's clock is ahead of this machine's, by the last response; nothing before the
  // first.
  std::optional<std::chrono::seconds> clock_lead() const noexcept { return clock_lead_; }

 private:
  net::HttpResponse get(std::string_view path);

  net::HttpClient http_;
  std::optional<std::chrono::seconds> clock_lead_;
};

// The key in `keys` that signed `narinfo`; nothing if none has.
std::optional<nix::PublicKey> signer_of(const CacheInfo& info, const nix::NarInfo& narinfo,
                                        const PublicKeys& keys);

// The first of several paths that the cache has.
struct CacheSample {
  nix::NarInfo narinfo;
  std::optional<nix::PublicKey> signer;  // nothing: none of the keys has signed it
};

// Nothing if the cache has none of the paths. Throws as BinaryCache does.
std::optional<CacheSample> find_sample(BinaryCache& cache, const CacheInfo& info,
                                       const PublicKeys& keys,
                                       const std::vector<std::string>& hash_parts);

// Hash parts of paths that the cache may have: the `known` store paths, then at most `most` of this
// machine's own store.
std::vector<std::string> sample_candidates(const CacheInfo& info,
                                           const std::vector<std::string>& known,
                                           std::size_t most = 100);

}  // namespace nixbuild::cli
