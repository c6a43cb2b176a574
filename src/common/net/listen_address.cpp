#include "common/net/listen_address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <span>

#include "common/base/error.hpp"

namespace nixbuild::net {
namespace {

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw UsageError(fmt::format(
      "'{}' is not an address to listen on: {}; give 127.0.0.1:5000, [::1]:5000, tailscale:5000 or "
      "unix:/run/x.sock",
      text, why));
}

std::uint16_t parse_port(std::string_view digits, std::string_view whole) {
  std::uint16_t port = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, port);
  if (digits.empty() || error != std::errc{} || stop != end) {
    refuse(whole, "the port is no number from 0 to 65535");
  }
  return port;
}

UnixAddress parse_unix(std::string_view path, std::string_view whole) {
  if (path.empty() || path.front() != '/') refuse(whole, "the path of a unix socket is absolute");
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    refuse(whole, fmt::format("the path of a unix socket has at most {} bytes",
                              sizeof(sockaddr_un::sun_path) - 1));
  }
  if (path.find('\0') != std::string_view::npos) refuse(whole, "the path holds a zero byte");
  return UnixAddress{std::string(path)};
}

// An IPv4 or IPv6 address as bytes; the scope ("%eth0") is ignored.
struct AddressBytes {
  std::array<unsigned char, 16> bytes{};
  std::size_t size = 0;
};

std::optional<AddressBytes> address_bytes(std::string_view text) {
  const std::string host(text.substr(0, text.find('%')));
  AddressBytes result;
  if (::inet_pton(AF_INET, host.c_str(), result.bytes.data()) == 1) {
    result.size = sizeof(in_addr);
    return result;
  }
  if (::inet_pton(AF_INET6, host.c_str(), result.bytes.data()) == 1) {
    result.size = sizeof(in6_addr);
    return result;
  }
  return std::nullopt;
}

}  // namespace

const std::array<const char*, 2> tailscale_ranges = {"100.64.0.0/10", "fd7a:115c:a1e0::/48"};

ListenAddress parse_listen_address(std::string_view text, std::string_view tailscale_interface) {
  if (text.starts_with("unix:")) return parse_unix(text.substr(5), text);

  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) refuse(text, "the port is missing");
  std::string_view host = text.substr(0, colon);
  const std::uint16_t port = parse_port(text.substr(colon + 1), text);

  if (host == "tailscale") {
    return InterfaceAddress{
        std::string(tailscale_interface), {tailscale_ranges.begin(), tailscale_ranges.end()}, port};
  }
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto bytes = address_bytes(host);
  if (!bytes) refuse(text, "the host is no literal address (names are not resolved)");
  const bool is_v6 = bytes->size == sizeof(in6_addr);
  if (is_v6 != bracketed) refuse(text, "IPv6 addresses, and only those, stand in brackets");
  if (!is_v6 && host.find('%') != std::string_view::npos) refuse(text, "IPv4 has no zones");
  return TcpAddress{std::string(host), port};
}

std::string to_string(const ListenAddress& address) {
  if (const auto* tcp = std::get_if<TcpAddress>(&address)) {
    const bool is_v6 = tcp->host.find(':') != std::string::npos;
    return is_v6 ? fmt::format("[{}]:{}", tcp->host, tcp->port)
                 : fmt::format("{}:{}", tcp->host, tcp->port);
  }
  if (const auto* interface = std::get_if<InterfaceAddress>(&address)) {
    return fmt::format("{}:{}", interface->interface, interface->port);
  }
  return "unix:" + std::get<UnixAddress>(address).path;
}

bool address_in_range(std::string_view address, std::string_view cidr) {
  const std::size_t slash = cidr.find('/');
  const auto network = address_bytes(cidr.substr(0, slash));
  const auto candidate = address_bytes(address);
  if (!network) throw UsageError(fmt::format("'{}' is not a range of addresses", cidr));
  std::size_t bits = network->size * 8;
  if (slash != std::string_view::npos) {
    const std::string_view digits = cidr.substr(slash + 1);
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, bits);
    if (digits.empty() || error != std::errc{} || stop != end || bits > network->size * 8) {
      throw UsageError(fmt::format("'{}' is not a range of addresses", cidr));
    }
  }
  if (!candidate || candidate->size != network->size) return false;
  const std::size_t whole = bits / 8;
  if (!std::equal(network->bytes.begin(),
                  network->bytes.begin() + static_cast<std::ptrdiff_t>(whole),
                  candidate->bytes.begin())) {
    return false;
  }
  const std::size_t rest = bits % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<unsigned char>(0xFFU << (8 - rest));
  return (network->bytes[whole] & mask) == (candidate->bytes[whole] & mask);
}

}  // namespace nixbuild::net
