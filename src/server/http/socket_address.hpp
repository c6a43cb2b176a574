// Converts socket addresses from and to text.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>

#include "common/net/listen_address.hpp"

namespace nixbuild::http {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
};

// Throws UsageError if the host is not a literal address.
SocketAddress to_socket_address(const net::TcpAddress& address);

// The local address that a socket is bound to. Throws SystemError.
SocketAddress bound_address(int socket);

std::uint16_t port_of(const SocketAddress& address);

// "127.0.0.1" or "fe80::1%eth0"; empty for other families.
std::string host_of(const sockaddr_storage& address);

// The peer of a connection: "127.0.0.1:40312", "[::1]:40312" or "unix".
std::string peer_name(const sockaddr_storage& address);

// The user who connected this unix socket, as recorded by the kernel at that time; nothing if
// unknown. In a user namespace without a mapping for that user, it is the overflow user, 65534.
std::optional<uid_t> peer_user(int socket);

}  // namespace nixbuild::http
