// Follows the addresses of a network interface, which may come, go or not exist at all.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "common/base/unique_fd.hpp"
#include "common/net/listen_address.hpp"
#include "server/http/worker.hpp"

namespace nixbuild::http {

// The addresses that the interface has now and that lie in the wanted ranges; with their zone where
// they are link-local. Throws SystemError.
std::set<std::string> interface_addresses(const net::InterfaceAddress& wanted);

// Calls `changed` whenever any interface's addresses may have changed: the kernel's messages
// (rtnetlink(7)) are only the occasion, and the addresses are then read anew. So nothing is lost
// when messages are (ENOBUFS).
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
