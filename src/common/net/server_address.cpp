#include "common/net/server_address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>

#include "common/base/error.hpp"

namespace nixbuild::net {
namespace {

[[noreturn]] void refuse_address(std::string_view text, std::string_view why) {
  throw UsageError(fmt::format(
      "'{}': {}; a server is HOST, HOST:PORT or a URL, such as build-server, 100.64.0.1:8000, "
      "[fd7a::1]:8000 or http://build-server:8000",
      text, why));
}

// "fe80::1%eth0" is an address with its zone.
bool is_ipv6(std::string_view host) {
  unsigned char address[16];
  return ::inet_pton(AF_INET6, std::string(host.substr(0, host.find('%'))).c_str(), address) == 1;
}

bool is_ipv4(std::string_view host) {
  unsigned char address[4];
  return ::inet_pton(AF_INET, std::string(host).c_str(), address) == 1;
}

// Names need not follow the rules of DNS, as resolvers know others too, but must not contain
// characters that have a meaning in a URL.
bool is_name(std::string_view host) {
  return !host.empty() && host.size() <= 253 && host.front() != '-' && host.front() != '.' &&
         std::none_of(host.begin(), host.end(), [](char c) {
           return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f ||
                  std::string_view("/\\?#@:[]%<>\"'`{}|^,;&=+$!*()").find(c) !=
                      std::string_view::npos;
         });
}

std::uint16_t server_port(std::string_view text, std::string_view port) {
  std::uint16_t value = 0;
  const auto [rest, error] = std::from_chars(port.data(), port.data() + port.size(), value);
  if (error != std::errc() || rest != port.data() + port.size() || value == 0) {
    refuse_address(text, "the port is not a number from 1 to 65535");
  }
  return value;
}

std::string bracketed(const std::string& host) {
  return host.find(':') == std::string::npos ? host : '[' + host + ']';
}

// Parses HOST or HOST:PORT into `address`; without a port, its port is left unchanged.
void parse_authority(std::string_view text, std::string_view authority, ServerAddress& address) {
  std::string_view host = authority;
  std::string_view port;
  bool has_port = false;
  if (authority.starts_with('[')) {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) refuse_address(text, "']' is missing");
    host = authority.substr(1, close - 1);
    const std::string_view rest = authority.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') refuse_address(text, "only a port can follow ']'");
    has_port = !rest.empty();
    if (has_port) port = rest.substr(1);
    if (!is_ipv6(host)) refuse_address(text, "what stands in brackets is not an IPv6 address");
  } else if (!is_ipv6(authority)) {
    const std::size_t colon = authority.find(':');
    has_port = colon != std::string_view::npos;
    if (has_port) port = authority.substr(colon + 1);
    host = authority.substr(0, colon);
    if (host.empty()) refuse_address(text, "there is no host in it");
    if (!is_name(host)) refuse_address(text, "this is not the name of a host");
  }
  if (has_port) address.port = server_port(text, port);
  address.host = host;
}

}  // namespace

std::string ServerAddress::base_url() const {
  std::string in_url = bracketed(host);
  // RFC 6874: the '%' of a zone is percent-encoded.
  if (const std::size_t zone = in_url.find('%'); zone != std::string::npos) {
    in_url.insert(zone + 1, "25");
  }
  return fmt::format("{}://{}:{}{}", scheme, in_url, port, path);
}

std::string ServerAddress::host_port() const {
  return unix_socket.empty() ? fmt::format("{}:{}", bracketed(host), port) : unix_socket;
}

bool ServerAddress::is_local() const noexcept {
  return !unix_socket.empty() || host == "localhost" || host == "::1" ||
         (host.starts_with("127.") && is_ipv4(host));
}

ServerAddress parse_server_address(std::string_view text, std::uint16_t default_port) {
  ServerAddress address;
  address.port = default_port;
  if (text.empty()) refuse_address(text, "it is empty");
  if (text.starts_with("unix:")) {
    address.unix_socket = text.substr(5);
    address.host = "localhost";
    if (!address.unix_socket.starts_with('/')) {
      refuse_address(text, "behind unix: comes an absolute path");
    }
    return address;
  }
  std::string_view authority = text;
  if (const std::size_t scheme_end = text.find("://"); scheme_end != std::string_view::npos) {
    address.scheme = text.substr(0, scheme_end);
    std::transform(address.scheme.begin(), address.scheme.end(), address.scheme.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (address.scheme == "http") {
      address.port = 80;
    } else if (address.scheme == "https") {
      address.port = 443;
    } else {
      refuse_address(text, "the URL begins neither with http:// nor with https://");
    }
    authority = text.substr(scheme_end + 3);
    if (authority.find_first_of("?#") != std::string_view::npos) {
      refuse_address(text, "a server's URL has no '?' and no '#'");
    }
    if (const std::size_t slash = authority.find('/'); slash != std::string_view::npos) {
      address.path = authority.substr(slash);
      authority = authority.substr(0, slash);
      while (address.path.ends_with('/'))
        address.path.pop_back();
      if (std::any_of(address.path.begin(), address.path.end(),
                      [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; })) {
        refuse_address(text, "its path has a space or a control character in it");
      }
    }
    if (authority.find('@') != std::string_view::npos) {
      refuse_address(text, "a user or password has no place in it (a token goes into token_file)");
    }
    // A URL cannot have "::1" without brackets as its host.
    if (is_ipv6(authority)) refuse_address(text, "in a URL, an IPv6 address stands in brackets");
  }
  parse_authority(text, authority, address);
  return address;
}

std::string default_cache_url(const ServerAddress& api) {
  ServerAddress cache;
  cache.host = api.host;
  cache.port = cache_port;
  return cache.base_url();
}

}  // namespace nixbuild::net
