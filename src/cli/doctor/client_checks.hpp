// Checks of a machine as a client of the build server. Each check interprets facts that the command
// has gathered.
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

// Resolves the name itself; `host` may be an address.
Check check_name(const std::string& host);

// `lead` is how far the server's clock is ahead of this machine's; nothing if the server sent no
// time.
Check check_clock(std::optional<std::chrono::seconds> lead);

// Whether Nix is configured to use the cache, correctly or not: a build server need not be.
bool is_client(const LocalNix& nix, const std::string& cache_url, const PublicKeys& served);

// Checks that Nix is installed, with flakes enabled. A server that is no client need not enable
// them: builds do so themselves.
enum class Role : std::uint8_t { client, server };
Check check_nix(const std::optional<LocalNix>& nix, Role role);

// Checks that Nix uses the cache, or that the daemon lets this user add it.
Check check_substituter(const LocalNix& nix, const std::string& cache_url,
                        const PublicKeys& served);

// Checks that Nix trusts the keys that the server shows, and that they have not changed.
Check check_public_key(const LocalNix& nix, const PublicKeys& served, const PublicKeys& known);

// Checks that the paths of the cache are signed by a key that Nix trusts or, on a server that is no
// client, by one that the cache shows. Nothing: no path was found that the cache has.
Check check_signature(const std::optional<CacheSample>& sample, const CacheInfo& info,
                      const LocalNix& nix, Role role);

// Checks that the newest build's record is signed by a key that system-update follows. `record` is
// the server's response; `problem` says why there is none.
Check check_record(const RecordKeys& keys, std::int64_t build,
                   const std::optional<protocol::SignedRecord>& record, std::string_view problem);

// Checks that Nix continues without the cache while it is unreachable.
Check check_fallback(const LocalNix& nix);

// That Nix asks again for what was not in a cache a moment ago, as when that was away.
Check check_absent_paths(const LocalNix& nix);

struct DiskSpace {
  std::string directory;
  std::uint64_t available = 0;  // bytes
  std::uint64_t total = 0;
};

// Nothing if the directory cannot be queried.
std::optional<DiskSpace> disk_space(const std::string& directory);
Check check_disk_space(std::string_view what, const DiskSpace& space);

}  // namespace nixbuild::cli
