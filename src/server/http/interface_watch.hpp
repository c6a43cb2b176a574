// Follows the addresses of a network interface, which may appear, disappear or not exist at all.
#pragma once

#include <ifaddrs.h>

#include <functional>
#include <set>
#include <string>

#include "common/base/unique_fd.hpp"
#include "common/net/listen_address.hpp"
#include "server/http/worker.hpp"

namespace nixbuild::http {

// Calls `visit` with each entry of getifaddrs(3) that has an IPv4 or IPv6 address, and that address
// as host_of() writes it. Throws SystemError.
void visit_interface_addresses(
    const std::function<void(const ifaddrs& entry, const std::string& host)>& visit);

// The interface's current addresses in the wanted ranges. Link-local addresses include their zone.
// Throws SystemError.
std::set<std::string> interface_addresses(const net::InterfaceAddress& wanted);

// Calls `changed` whenever any interface's addresses may have changed. The kernel's messages
// (rtnetlink(7)) only trigger reading them again, so it does not matter if some are lost (ENOBUFS).
class InterfaceWatch final : public EpollTarget {
 public:
  explicit InterfaceWatch(std::function<void()> changed);

  int fd() const noexcept { return socket_.get(); }
  void on_event(std::uint32_t events) override;

 private:
  std::function<void()> changed_;
  UniqueFd socket_;
};

}  // namespace nixbuild::http
