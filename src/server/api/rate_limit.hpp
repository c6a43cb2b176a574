// Limits requests for each key: allows a burst of a given size, and then one per interval.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace nixbuild::api {

// Thread-safe.
class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;

  RateLimit(int at_once, std::chrono::milliseconds interval)
      : interval_(interval), allowance_(interval * at_once) {}

  // Counts a request of `key`. Returns nothing if it is within the limit, otherwise how long to
  // wait until the next one is allowed; a refused request does not count.
  std::optional<std::chrono::seconds> refuse(const std::string& key,
                                             Clock::time_point now = Clock::now());

 private:
  const std::chrono::milliseconds interval_;
  const std::chrono::milliseconds allowance_;
  std::mutex mutex_;
  // When all requests of a key would have been due at one per interval.
  std::map<std::string, Clock::time_point> due_;
};

// What counts as one peer: an IPv4 address, or an IPv6 /64 network, all of whose addresses one
// machine can have. `address` is without port and brackets.
std::string peer_key(std::string_view address);

}  // namespace nixbuild::api
