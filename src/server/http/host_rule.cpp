#include "server/http/host_rule.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "server/http/ascii.hpp"

namespace nixbuild::http {
namespace {

using std::chrono::steady_clock;

constexpr std::string_view default_name = "build-server";
constexpr std::chrono::minutes log_interval{1};

bool is_name_character(char c) {
  const char lower = to_lower(c);
  return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.';
}

bool is_port_or_nothing(std::string_view text) {
  if (text.empty()) return true;
  return text.front() == ':' && text.size() <= 6 &&
         std::all_of(text.begin() + 1, text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool iends_with(std::string_view text, std::string_view suffix) {
  return text.size() > suffix.size() && iequals(text.substr(text.size() - suffix.size()), suffix);
}

// The first label of HOST.TAILNET.ts.net; empty for other names.
std::string_view magic_dns_label(std::string_view host) {
  constexpr std::string_view domain = ".ts.net";
  if (!iends_with(host, domain)) return {};
  const std::string_view rest = host.substr(0, host.size() - domain.size());
  const std::size_t dot = rest.find('.');
  if (dot == std::string_view::npos || rest.find('.', dot + 1) != std::string_view::npos) return {};
  return rest.substr(0, dot);
}

}  // namespace

std::vector<std::string> own_host_names() {
  std::array<char, 256> buffer{};  // POSIX: at most 255
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0) return {};
  const std::string name = buffer.data();
  const std::string label = name.substr(0, name.find('.'));
  if (label == name) return {name};
  return {name, label};
}

std::optional<std::string_view> host_of_authority(std::string_view authority) {
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    if (end == std::string_view::npos || !is_port_or_nothing(authority.substr(end + 1))) return {};
    std::string_view host = authority.substr(1, end - 1);
    host = host.substr(0, host.find('%'));
    in6_addr address{};
    if (::inet_pton(AF_INET6, std::string(host).c_str(), &address) != 1) return {};
    return host;
  }
  const std::size_t colon = std::min(authority.find(':'), authority.size());
  std::string_view host = authority.substr(0, colon);
  if (!is_port_or_nothing(authority.substr(colon))) return {};
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || host.front() == '.' || host.ends_with('.')) return {};
  if (!std::all_of(host.begin(), host.end(), is_name_character)) return {};
  return host;
}

HostRule::HostRule(std::string setting, const std::vector<std::string>& allowed,
                   const std::vector<std::string>& own_names)
    : setting_(std::move(setting)),
      refusal_(
          fmt::format("the Host of this request is not a name of this server; if it should be, "
                      "add it to {} in the server's configuration",
                      setting_)),
      own_names_(own_names) {
  set_allowed(allowed);
}

void HostRule::set_allowed(const std::vector<std::string>& allowed) {
  std::vector<std::string> names = own_names_;
  names.emplace_back(default_name);
  std::set<Address> addresses;
  for (const std::string& text : allowed) {
    in6_addr v6{};
    const bool is_bare_v6 = ::inet_pton(AF_INET6, text.c_str(), &v6) == 1;
    const auto host = is_bare_v6 ? std::string_view(text) : host_of_authority(text);
    if (!host) {
      throw UsageError(
          fmt::format("{}: '{}' is neither a host name nor an address", setting_, text));
    }
    if (const auto address = parse_address(*host)) {
      addresses.insert(*address);
    } else {
      names.emplace_back(*host);
    }
  }
  const std::lock_guard lock(mutex_);
  names_ = std::move(names);
  allowed_addresses_ = std::move(addresses);
  version_.fetch_add(1, std::memory_order_acq_rel);
}

std::optional<HostRule::Address> HostRule::parse_address(std::string_view host) {
  const std::string text(host);
  Address address{};
  if (::inet_pton(AF_INET6, text.c_str(), address.data()) == 1) return address;
  address[10] = address[11] = 0xff;
  if (::inet_pton(AF_INET, text.c_str(), address.data() + 12) == 1) return address;
  return std::nullopt;
}

bool HostRule::is_own_address(const Address& address) {
  const in6_addr& v6 = reinterpret_cast<const in6_addr&>(address);
  if (IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && address[12] == 127)) return true;
  if (own_addresses_.contains(address)) return true;
  // The address may be new. A connection asks only once for each name, see version().
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return false;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, &::freeifaddrs);
  own_addresses_.clear();
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    Address own{};
    if (entry->ifa_addr->sa_family == AF_INET6) {
      std::memcpy(own.data(), &reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr,
                  own.size());
    } else if (entry->ifa_addr->sa_family == AF_INET) {
      own[10] = own[11] = 0xff;
      std::memcpy(own.data() + 12, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr,
                  4);
    } else {
      continue;
    }
    own_addresses_.insert(own);
  }
  return own_addresses_.contains(address);
}

bool HostRule::allows(std::string_view authority) {
  if (authority.empty()) return true;
  const auto host = host_of_authority(authority);
  if (!host) return false;
  const std::lock_guard lock(mutex_);
  if (const auto address = parse_address(*host)) {
    return allowed_addresses_.contains(*address) || is_own_address(*address);
  }
  if (iequals(*host, "localhost") || iends_with(*host, ".localhost")) return true;
  const std::string_view label = magic_dns_label(*host);
  return std::any_of(names_.begin(), names_.end(), [&](const std::string& name) {
    return iequals(name, *host) || (!label.empty() && iequals(name, label));
  });
}

void HostRule::log_refused(std::string_view authority, std::string_view peer) {
  std::uint64_t unlogged = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto now = steady_clock::now();
    if (logged_ != steady_clock::time_point() && now - logged_ < log_interval) {
      ++unlogged_;
      return;
    }
    logged_ = now;
    unlogged = std::exchange(unlogged_, 0);
  }
  log::warn(
      "refused a request from {} for the host '{}'{}; if that is a name of this server, add it "
      "to {}",
      peer, escaped(authority),
      unlogged > 0 ? fmt::format(" ({} more since the last such line)", unlogged) : "", setting_);
}

}  // namespace nixbuild::http
