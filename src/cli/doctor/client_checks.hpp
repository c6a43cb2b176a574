// The checks of a machine as a client of the build server. Each takes what was found out and says
// what that means; finding out is the command's part.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/machine/binary_cache.hpp"
#include "cli/machine/build_record.hpp"
#include "cli/machine/check.hpp"
#include "cli/machine/known_keys.hpp"
#include "cli/machine/nix_settings.hpp"

namespace nixbuild::cli {

// Looks the name up itself; `host` may be an address.
Check check_name(const std::string& host);

// How far the server's clock is ahead of this one's; nothing: it gave no time.
Check check_clock(std::optional<std::chrono::seconds> lead);

// Whether Nix is set up to use the cache, well or badly: a build server need not be.
bool is_client(const LocalNix& nix, const std::string& cache_url, const PublicKeys& served);

// That there is a Nix, with flakes. A server that is no client needs no flakes of its own: builds
// turn them on.
enum class Role : std::uint8_t { client, server };
Check check_nix(const std::optional<LocalNix>& nix, Role role);

// That Nix goes to the cache, or that this user may make it: the daemon has a say in that.
Check check_substituter(const LocalNix& nix, const std::string& cache_url,
                        const PublicKeys& served);

// That Nix trusts the keys that the server shows, and that they are those that were shown before.
Check check_public_key(const LocalNix& nix, const PublicKeys& served, const PublicKeys& known);

// That what the cache serves is signed by a key that Nix trusts; of a server that is no client, by
// one that the cache shows. Nothing: no path was found that the cache has.
Check check_signature(const std::optional<CacheSample>& sample, const CacheInfo& info,
                      const LocalNix& nix, Role role);

// That the newest build's record is signed by a key that system-update follows. `record` is what
// the server answered; `problem` says why there is none.
Check check_record(const RecordKeys& keys, std::int64_t build,
                   const std::optional<protocol::SignedRecord>& record, std::string_view problem);

// That Nix goes on without the cache while that is away.
Check check_fallback(const LocalNix& nix);

struct DiskSpace {
  std::string directory;
  std::uint64_t available = 0;  // bytes
  std::uint64_t total = 0;
};

// Nothing where the directory cannot be asked.
std::optional<DiskSpace> disk_space(const std::string& directory);
Check check_disk_space(std::string_view what, const DiskSpace& space);

}  // namespace nixbuild::cli
