// Where a server is, as given by --server, NIXBUILD_SERVER or the configuration.
//
//   build-server  build-server:8000       a name, with or without a port
//   100.64.0.1:8000  [fd7a::1]:8000  ::1  an address; IPv6 with a port needs brackets
//   http://host:8000/prefix  https://…    a URL; without a port, that of its scheme
//   unix:/run/nixbuild/api.sock           a unix socket
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nixbuild::net {

constexpr std::uint16_t api_port = 8000;
constexpr std::uint16_t cache_port = 5000;

struct ServerAddress {
  std::string scheme = "http";  // or "https"
  std::string host;             // without brackets; "localhost" for a unix socket
  std::uint16_t port = api_port;
  std::string path;         // "" or "/prefix"
  std::string unix_socket;  // empty: TCP

  // "http://[::1]:8000/prefix": the base that paths are appended to.
  std::string base_url() const;
  // "[::1]:8000", or the unix socket's path: for messages.
  std::string host_port() const;
  // 127.0.0.0/8, ::1, localhost, a unix socket.
  bool is_local() const noexcept;
};

// `default_port` is for the forms without a scheme. Throws UsageError saying what was expected.
ServerAddress parse_server_address(std::string_view text, std::uint16_t default_port = api_port);

// The default address of a build server's binary cache, if the server does not report one: the same
// host, port 5000.
std::string default_cache_url(const ServerAddress& api);

}  // namespace nixbuild::net
