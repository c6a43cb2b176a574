#include "server/http/interface_watch.hpp"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "common/base/error.hpp"
#include "server/http/socket_address.hpp"

namespace nixbuild::http {

void visit_interface_addresses(
    const std::function<void(const ifaddrs& entry, const std::string& host)>& visit) {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) throw SystemError(errno, "reading this machine's addresses");
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, &::freeifaddrs);
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage address{};
    std::copy_n(reinterpret_cast<const char*>(entry->ifa_addr),
                family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6),
                reinterpret_cast<char*>(&address));
    visit(*entry, host_of(address));
  }
}

std::set<std::string> interface_addresses(const net::InterfaceAddress& wanted) {
  std::set<std::string> result;
  visit_interface_addresses([&](const ifaddrs& entry, const std::string& host) {
    if (wanted.interface != entry.ifa_name) return;
    const bool in_range =
        wanted.ranges.empty() ||
        std::any_of(wanted.ranges.begin(), wanted.ranges.end(), [&host](const std::string& range) {
          return net::address_in_range(host, range);
        });
    if (in_range) result.insert(host);
  });
  return result;
}

InterfaceWatch::InterfaceWatch(std::function<void()> changed)
    : changed_(std::move(changed)),
      socket_(::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE)) {
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (!socket_ ||
      ::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw SystemError(errno, "watching this machine's addresses (rtnetlink)");
  }
}

void InterfaceWatch::on_event(std::uint32_t) {
  std::array<char, 16384> messages;
  for (;;) {
    const ssize_t n = ::recv(socket_.get(), messages.data(), messages.size(), MSG_TRUNC);
    if (n >= 0 || errno == EINTR || errno == ENOBUFS) continue;
    break;
  }
  changed_();
}

}  // namespace nixbuild::http
