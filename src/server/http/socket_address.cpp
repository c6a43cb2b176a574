#include "server/http/socket_address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/if.h>
#include <netdb.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/base/error.hpp"

namespace nixbuild::http {
namespace {

const sockaddr_in& as_v4(const sockaddr_storage& address) {
  return reinterpret_cast<const sockaddr_in&>(address);
}

const sockaddr_in6& as_v6(const sockaddr_storage& address) {
  return reinterpret_cast<const sockaddr_in6&>(address);
}

}  // namespace

SocketAddress to_socket_address(const net::TcpAddress& address) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(address.host.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    throw UsageError(
        fmt::format("cannot listen on '{}': {}", address.host,
                    error == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(error)));
  }
  SocketAddress result;
  std::memcpy(&result.storage, found->ai_addr, found->ai_addrlen);
  result.size = found->ai_addrlen;
  ::freeaddrinfo(found);
  if (result.storage.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(result.storage).sin6_port = htons(address.port);
  } else {
    reinterpret_cast<sockaddr_in&>(result.storage).sin_port = htons(address.port);
  }
  return result;
}

SocketAddress bound_address(int socket) {
  SocketAddress result;
  result.size = sizeof result.storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&result.storage), &result.size) != 0) {
    throw SystemError(errno, "reading a socket's address");
  }
  return result;
}

std::uint16_t port_of(const SocketAddress& address) {
  switch (address.storage.ss_family) {
    case AF_INET:
      return ntohs(as_v4(address.storage).sin_port);
    case AF_INET6:
      return ntohs(as_v6(address.storage).sin6_port);
    default:
      return 0;
  }
}

std::string host_of(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    return ::inet_ntop(AF_INET, &as_v4(address).sin_addr, text.data(), text.size());
  }
  if (address.ss_family != AF_INET6) return {};
  std::string host = ::inet_ntop(AF_INET6, &as_v6(address).sin6_addr, text.data(), text.size());
  if (const unsigned scope = as_v6(address).sin6_scope_id; scope != 0) {
    std::array<char, IF_NAMESIZE> name{};
    host += '%';
    host += ::if_indextoname(scope, name.data()) != nullptr ? std::string(name.data())
                                                            : std::to_string(scope);
  }
  return host;
}

std::string peer_name(const sockaddr_storage& address) {
  switch (address.ss_family) {
    case AF_INET:
      return fmt::format("{}:{}", host_of(address), ntohs(as_v4(address).sin_port));
    case AF_INET6:
      return fmt::format("[{}]:{}", host_of(address), ntohs(as_v6(address).sin6_port));
    default:
      return "unix";
  }
}

std::optional<uid_t> peer_user(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
  return credentials.uid;
}

}  // namespace nixbuild::http
