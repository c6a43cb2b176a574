// Limits the connections of one peer, so that no peer can keep all others out.
//
// A peer is an IPv4 address or an IPv6 /64 network, all of whose addresses a single machine can
// have. It gets at most half of all connections, and only a few of the last tenth. Loopback, unix
// sockets and trusted proxies, which serve many clients, are exempt.
//
// Every function may be called from any thread.
#pragma once

#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nixbuild::http {

class PeerLimit {
 public:
  using Peer = std::array<unsigned char, 16>;  // an IPv4 address as ::ffff:a.b.c.d

  // One connection counted for its peer; the destructor releases it.
  class Place {
   public:
    Place() = default;  // for an exempt peer
    Place(PeerLimit& limit, const Peer& peer) : limit_(&limit), peer_(peer) {}
    Place(Place&& other) noexcept
        : limit_(std::exchange(other.limit_, nullptr)), peer_(other.peer_) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(limit_, other.limit_);
      std::swap(peer_, other.peer_);
      return *this;
    }
    ~Place() {
      if (limit_ != nullptr) limit_->leave(peer_);
    }

   private:
    PeerLimit* limit_ = nullptr;
    Peer peer_{};
  };

  // `connections`: the limit for all peers together. `trusted_proxies`: addresses and ranges
  // ("10.0.0.0/8"). Throws UsageError for an invalid one.
  PeerLimit(std::size_t connections, std::vector<std::string> trusted_proxies);

  // Nothing if the peer already has too many connections; this is logged at most once a minute.
  // `open`: the number of other open connections.
  std::optional<Place> enter(const sockaddr_storage& address, std::size_t open);

 private:
  static std::optional<Peer> peer_of(const sockaddr_storage& address);
  bool is_exempt(const sockaddr_storage& address) const;
  void leave(const Peer& peer);
  void log_refused(const sockaddr_storage& address, std::size_t held);

  const std::size_t connections_;
  const std::vector<std::string> trusted_proxies_;
  std::mutex mutex_;
  std::map<Peer, std::size_t> held_;
  std::chrono::steady_clock::time_point logged_;
};

}  // namespace nixbuild::http
