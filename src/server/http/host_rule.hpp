// Whether the Host of a request is a name of this server.
//
// A web page can make its own name resolve to this server's address ("DNS rebinding"); its browser
// then lets it read every answer. Such requests carry the page's name as their Host, so the server
// answers only requests for names that no stranger can own: loopback, this machine's addresses, its
// host name, its MagicDNS names (HOST.TAILNET.ts.net), `build-server`, and configured names.
// Requests without a Host (HTTP/1.0) do not come from browsers and are allowed.
//
// Every function may be called from any thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::http {

// This machine's own names: its host name, and the first label of that.
std::vector<std::string> own_host_names();

// The host in an authority such as "cache.example.org:5000" or "[::1]:5000", without port,
// brackets, IPv6 zone and trailing dot; nothing if the authority is malformed.
std::optional<std::string_view> host_of_authority(std::string_view authority);

class HostRule {
 public:
  // `setting` is the configuration key that adds names, for messages: "[cache] allowed_host".
  // Throws UsageError if an entry of `allowed` is neither a host name nor an address.
  HostRule(std::string setting, const std::vector<std::string>& allowed,
           const std::vector<std::string>& own_names = own_host_names());

  // Replaces the configured names. Throws like the constructor.
  void set_allowed(const std::vector<std::string>& allowed);
  // Increases with each set_allowed(); never 0. A name allowed under a version stays allowed for
  // it.
  std::uint64_t version() const noexcept { return version_.load(std::memory_order_acquire); }

  bool allows(std::string_view authority);
  // The reason given to a client that is refused.
  const std::string& refusal() const noexcept { return refusal_; }
  // Logs that `peer` was refused, at most once a minute.
  void log_refused(std::string_view authority, std::string_view peer);

 private:
  using Address = std::array<unsigned char, 16>;  // an IPv4 address as ::ffff:a.b.c.d

  static std::optional<Address> parse_address(std::string_view host);
  bool is_own_address(const Address& address);

  const std::string setting_;
  const std::string refusal_;
  const std::vector<std::string> own_names_;
  std::atomic<std::uint64_t> version_{0};

  std::mutex mutex_;
  std::vector<std::string> names_;  // own and configured
  std::set<Address> allowed_addresses_;
  std::set<Address> own_addresses_;  // as last read
  std::chrono::steady_clock::time_point logged_;
  std::uint64_t unlogged_ = 0;
};

}  // namespace nixbuild::http
