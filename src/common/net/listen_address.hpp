// Where a server listens, as --listen and the configuration say it:
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

// A literal address. No name is resolved: a server's address should not hang on a name server.
struct TcpAddress {
  std::string host;  // "127.0.0.1", "::1", "fe80::1%eth0"
  std::uint16_t port = 0;
};

// Those addresses of one interface that lie in `ranges`, whichever it has at the moment.
struct InterfaceAddress {
  std::string interface;
  std::vector<std::string> ranges;  // CIDR; empty: every address of the interface
  std::uint16_t port = 0;
};

struct UnixAddress {
  std::string path;  // absolute
};

using ListenAddress = std::variant<TcpAddress, InterfaceAddress, UnixAddress>;

// The ranges from which Tailscale gives addresses to nodes: 100.64.0.0/10, fd7a:115c:a1e0::/48.
extern const std::array<const char*, 2> tailscale_ranges;

// Throws UsageError saying which of the three forms was expected. `tailscale_interface` is what
// "tailscale:PORT" stands for.
ListenAddress parse_listen_address(std::string_view text, std::string_view tailscale_interface);

// The form that parse_listen_address reads; for InterfaceAddress "INTERFACE:PORT".
std::string to_string(const ListenAddress& address);

// Whether a literal address lies in a range such as "100.64.0.0/10". Throws UsageError when `cidr`
// is no range.
bool address_in_range(std::string_view address, std::string_view cidr);

}  // namespace nixbuild::net
