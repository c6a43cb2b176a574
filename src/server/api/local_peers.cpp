#include "server/api/local_peers.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <grp.h>
#include <ifaddrs.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/base/unique_fd.hpp"

namespace nixbuild::api {
namespace {

constexpr const char* builders_group = "nixbld";
constexpr const char* build_user = "nixbuild-build";
// Nix's settings start-id and id-count, with auto-allocate-uids.
constexpr uid_t first_allocated_uid = 0x34000000;
constexpr uid_t allocated_uids = 0x800000;

constexpr std::chrono::seconds users_validity{60};
constexpr std::size_t most_verdicts = 4096;  // per thread

struct Address {
  int family = AF_UNSPEC;
  std::array<unsigned char, 16> bytes{};
  std::uint16_t port = 0;  // in network byte order
  unsigned interface = 0;

  std::size_t size() const noexcept { return family == AF_INET ? 4 : 16; }
  bool same_host(const Address& other) const noexcept {
    return family == other.family && bytes == other.bytes;
  }
  bool is_loopback() const noexcept {
    return family == AF_INET ? bytes[0] == 127
                             : std::memcmp(bytes.data(), &in6addr_loopback, bytes.size()) == 0;
  }
};

// Converts an IPv4-mapped address of an IPv6 socket to that IPv4 address.
Address address_of(const sockaddr* address) {
  Address result;
  if (address == nullptr) return result;
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    result.family = AF_INET;
    std::memcpy(result.bytes.data(), &in.sin_addr, 4);
    result.port = in.sin_port;
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    result.port = in.sin6_port;
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
      result.family = AF_INET;
      std::memcpy(result.bytes.data(), in.sin6_addr.s6_addr + 12, 4);
    } else {
      result.family = AF_INET6;
      std::memcpy(result.bytes.data(), &in.sin6_addr, 16);
      result.interface = in.sin6_scope_id;
    }
  }
  return result;
}

// The address of this end of the connection, or of the other.
template <typename Function>
Address socket_address(Function get, int socket) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  return get(socket, address, &size) == 0 ? address_of(address) : Address{};
}

bool is_own(const Address& address) {
  if (address.is_loopback()) return true;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return false;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owned(list, &::freeifaddrs);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (address_of(entry->ifa_addr).same_host(address)) return true;
  }
  return false;
}

// The kernel's information about a socket of this network namespace.
struct Answer {
  enum class Kind { found, absent, unavailable } kind = Kind::unavailable;
  uid_t uid = 0;
  bool is_open = false;  // a process has it open
};

Answer look_up(const Address& source, const Address& destination) {
  const UniqueFd netlink(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!netlink) return {};
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } message{};
  message.header.nlmsg_len = sizeof message;
  message.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  message.header.nlmsg_flags = NLM_F_REQUEST;
  message.request.sdiag_family = static_cast<__u8>(source.family);
  message.request.sdiag_protocol = IPPROTO_TCP;
  message.request.idiag_states = ~0U;
  inet_diag_sockid& id = message.request.id;
  id.idiag_sport = source.port;
  id.idiag_dport = destination.port;
  std::memcpy(id.idiag_src, source.bytes.data(), source.size());
  std::memcpy(id.idiag_dst, destination.bytes.data(), destination.size());
  id.idiag_if = source.interface;
  id.idiag_cookie[0] = id.idiag_cookie[1] = static_cast<__u32>(INET_DIAG_NOCOOKIE);
  if (::send(netlink.get(), &message, sizeof message, 0) < 0) return {};

  alignas(nlmsghdr) std::array<char, 8192> buffer{};
  const ssize_t size = ::recv(netlink.get(), buffer.data(), buffer.size(), 0);
  if (size < static_cast<ssize_t>(sizeof(nlmsghdr))) return {};
  nlmsghdr header{};
  std::memcpy(&header, buffer.data(), sizeof header);
  const char* payload = buffer.data() + NLMSG_HDRLEN;
  const auto payload_size = static_cast<std::size_t>(size) - NLMSG_HDRLEN;
  if (header.nlmsg_type == NLMSG_ERROR) {
    nlmsgerr error{};
    if (payload_size < sizeof error.error) return {};
    std::memcpy(&error.error, payload, sizeof error.error);
    if (error.error == -ENOENT) return {Answer::Kind::absent, 0, false};
    return {};
  }
  inet_diag_msg found{};
  if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || payload_size < sizeof found) return {};
  std::memcpy(&found, payload, sizeof found);
  // The kernel has forgotten the user of a closed socket, and reports 0.
  return {Answer::Kind::found, found.idiag_uid, found.idiag_inode != 0};
}

std::optional<uid_t> uid_of_unix_peer(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
  return credentials.uid;
}

std::optional<uid_t> uid_of(const char* name) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16384> buffer{};
  if (::getpwnam_r(name, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return std::nullopt;
  }
  return entry.pw_uid;
}

}  // namespace

BuildUsers::BuildUsers() {
  group entry{};
  group* found = nullptr;
  std::array<char, 65536> buffer{};
  if (::getgrnam_r(builders_group, &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr) {
    for (char** member = entry.gr_mem; *member != nullptr; ++member) {
      if (const auto uid = uid_of(*member)) uids_.insert(*uid);
    }
  }
  if (const auto uid = uid_of(build_user); uid && *uid != ::geteuid()) uids_.insert(*uid);
}

bool BuildUsers::contains(uid_t uid) const {
  return uids_.contains(uid) ||
         (uid >= first_allocated_uid && uid - first_allocated_uid < allocated_uids);
}

bool LocalPeers::is_build(const http::Request& request) {
  if (request.socket < 0) return false;
  Verdicts& verdicts = verdicts_.get();
  const auto known = verdicts.find(request.connection);
  if (known != verdicts.end()) return known->second;
  if (verdicts.size() >= most_verdicts) verdicts.clear();
  const bool verdict = ask(request.socket);
  verdicts.emplace(request.connection, verdict);
  return verdict;
}

bool LocalPeers::ask(int socket) {
  int domain = AF_UNSPEC;
  socklen_t size = sizeof domain;
  ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size);
  if (domain == AF_UNIX) {
    const auto uid = uid_of_unix_peer(socket);
    return uid && contains(*uid);
  }
  const Address peer = socket_address(::getpeername, socket);
  if (peer.family == AF_UNSPEC) return true;  // the connection was reset
  if (!is_own(peer)) return false;
  const Address own = socket_address(::getsockname, socket);
  const Answer answer = look_up(peer, own);
  if (answer.kind == Answer::Kind::found) return !answer.is_open || contains(answer.uid);
  if (answer.kind == Answer::Kind::absent) {
    // A kernel without sock_diag reports every socket as unknown, including this end. But this end
    // is also unknown if the connection was reset meanwhile.
    if (look_up(own, peer).kind == Answer::Kind::found) return true;
    if (socket_address(::getpeername, socket).family == AF_UNSPEC) return true;
  }
  static std::atomic<bool> logged{false};
  if (!logged.exchange(true)) {
    log::warn(
        "the kernel does not say who connects from this machine (sock_diag): builds that reach "
        "this port can trigger and cancel builds");
  }
  return false;
}

bool LocalPeers::contains(uid_t uid) {
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (now >= known_until_) {
    known_ = users_();
    known_until_ = now + users_validity;
  }
  return known_.contains(uid);
}

}  // namespace nixbuild::api
