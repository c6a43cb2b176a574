// Where a server listens, as given to --listen and in the configuration:
//
//   127.0.0.1:5000  [::1]:5000   an address and a port; port 0 picks a free one
//
//   tailscale:5000               Tailscale's addresses on its interface, as they come and go
//
//   unix:/run/x.sock             a unix socket
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace nixbuild::net {

// A literal address. Names are not resolved: a server should not depend on a name server.
struct TcpAddress {
  std::string host;  // "127.0.0.1", "::1", "fe80::1%eth0"
  std::uint16_t port = 0;
};

// The current addresses of one interface that are in `ranges`.
struct InterfaceAddress {
  std::string interface;
  std::vector<std::string> ranges;  // CIDR; empty: every address of the interface
  std::uint16_t port = 0;
};

struct UnixAddress {
  std::string path;  // absolute
};

using ListenAddress = std::variant<TcpAddress, InterfaceAddress, UnixAddress>;

// The ranges of Tailscale's node addresses: 100.64.0.0/10, fd7a:115c:a1e0::/48.
extern const std::array<const char*, 2> tailscale_ranges;

// Throws UsageError saying which of the three forms was expected. `tailscale_interface` is the
// interface for "tailscale:PORT".
ListenAddress parse_listen_address(std::string_view text, std::string_view tailscale_interface);

// The form that parse_listen_address reads; "INTERFACE:PORT" for InterfaceAddress.
std::string to_string(const ListenAddress& address);

// Whether a literal address is in a range such as "100.64.0.0/10". Throws UsageError if `cidr` is
// not a valid range.
bool address_in_range(std::string_view address, std::string_view cidr);

}  // namespace nixbuild::net
