#include "server/http/peer_limit.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "common/base/log.hpp"
#include "common/net/listen_address.hpp"
#include "server/http/socket_address.hpp"

namespace nixbuild::http {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::minutes refusal_log_interval{1};
// Fractions of all connections: what one peer may hold, what is reserved for peers with few
// connections, and how many count as few.
constexpr std::size_t share = 2;
constexpr std::size_t reserve = 10;
constexpr std::size_t few = 50;

}  // namespace

PeerLimit::PeerLimit(std::size_t connections, std::vector<std::string> trusted_proxies)
    : connections_(connections), trusted_proxies_(std::move(trusted_proxies)) {
  for (const std::string& range : trusted_proxies_)
    net::address_in_range("", range);
}

std::optional<PeerLimit::Peer> PeerLimit::peer_of(const sockaddr_storage& address) {
  Peer peer{};
  if (address.ss_family == AF_INET) {
    peer[10] = peer[11] = 0xff;
    std::memcpy(peer.data() + 12, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
    if (peer[12] == 127) return std::nullopt;
    return peer;
  }
  if (address.ss_family != AF_INET6) return std::nullopt;
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  if (IN6_IS_ADDR_LOOPBACK(&v6)) return std::nullopt;
  const bool is_v4 = IN6_IS_ADDR_V4MAPPED(&v6);
  std::memcpy(peer.data(), &v6, is_v4 ? 16 : 8);
  if (is_v4 && peer[12] == 127) return std::nullopt;
  return peer;
}

bool PeerLimit::is_exempt(const sockaddr_storage& address) const {
  if (trusted_proxies_.empty()) return false;
  std::string host = host_of(address);
  constexpr std::string_view mapped = "::ffff:";
  if (host.starts_with(mapped) && host.find('.') != std::string::npos) host.erase(0, mapped.size());
  return std::any_of(
      trusted_proxies_.begin(), trusted_proxies_.end(),
      [&host](const std::string& range) { return net::address_in_range(host, range); });
}

std::optional<PeerLimit::Place> PeerLimit::enter(const sockaddr_storage& address,
                                                 std::size_t open) {
  const auto peer = peer_of(address);
  if (!peer || is_exempt(address)) return Place();
  std::size_t held = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = held_.find(*peer);
    held = found == held_.end() ? 0 : found->second;
    const bool only_few = open >= connections_ - connections_ / reserve;
    const std::size_t most = std::max<std::size_t>(1, connections_ / (only_few ? few : share));
    if (held < most) {
      ++held_[*peer];
      return Place(*this, *peer);
    }
  }
  log_refused(address, held);
  return std::nullopt;
}

void PeerLimit::leave(const Peer& peer) {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(peer);
  if (--found->second == 0) held_.erase(found);
}

void PeerLimit::log_refused(const sockaddr_storage& address, std::size_t held) {
  {
    const std::lock_guard lock(mutex_);
    const auto now = steady_clock::now();
    if (logged_ != steady_clock::time_point() && now - logged_ < refusal_log_interval) return;
    logged_ = now;
  }
  log::warn(
      "{} has {} connections open: closing further ones; if many clients are behind it, add "
      "it to trusted_proxies",
      host_of(address), held);
}

}  // namespace nixbuild::http
