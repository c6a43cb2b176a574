#include "server/http/listen_sockets.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#ifdef NIXBUILD_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "server/http/socket_address.hpp"

namespace nixbuild::http {
namespace {

// Connections that may wait to be accepted; the kernel limits it to net.core.somaxconn.
constexpr int backlog = 4096;

void set_option(int fd, int level, int name, int value) {
  if (::setsockopt(fd, level, name, &value, sizeof value) != 0) {
    throw SystemError(errno, "setting up a socket");
  }
}

// Sets the options that accepted connections inherit from the listening socket.
void prepare_connections(int fd, int family) {
  if (family != AF_INET && family != AF_INET6) return;
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

std::string advice(int error) {
  switch (error) {
    case EADDRINUSE:
      return " (another program listens there; stop it or choose another port)";
    case EADDRNOTAVAIL:
      return " (this machine does not have that address)";
    case EACCES:
      return " (ports below 1024 need root)";
    default:
      return "";
  }
}

[[noreturn]] void throw_for(int error, const net::ListenAddress& address) {
  throw SystemError(error,
                    fmt::format("listening on {}{}", net::to_string(address), advice(error)));
}

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    throw UsageError(fmt::format("'{}' is too long for a unix socket", path));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// Whether a process accepts connections on the socket file.
bool is_alive(const sockaddr_un& address) {
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) throw SystemError(errno, "creating a socket");
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return true;
  }
  return errno != ECONNREFUSED && errno != ENOENT;
}

bool is_socket(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

void bind_to_device(int fd, const std::string& device) {
  const auto size = static_cast<socklen_t>(device.size());
  if (::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device.data(), size) != 0) {
    throw SystemError(errno, fmt::format("binding a socket to {}", device));
  }
}

// Kernels before 5.7 allow this only for root.
bool can_bind_to_devices() {
  static const bool can = [] {
    const UniqueFd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::setsockopt(probe.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 2) == 0) return true;
    log::warn(
        "this kernel lets only root bind sockets to an interface: use a firewall to keep other "
        "networks from Tailscale's addresses");
    return false;
  }();
  return can;
}

enum class Readiness { present, early };

// An empty `device` means any.
std::vector<UniqueFd> listen_tcp(const net::TcpAddress& address, unsigned count,
                                 const std::string& device, Readiness readiness) {
  SocketAddress target = to_socket_address(address);
  const int family = target.storage.ss_family;
  std::vector<UniqueFd> sockets;
  for (unsigned i = 0; i < count; ++i) {
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) throw_for(errno, address);
    set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
    if (family == AF_INET6) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (!device.empty()) bind_to_device(fd.get(), device);
    // An IPv6 address cannot be bound normally during duplicate address detection.
    if (readiness == Readiness::early) set_option(fd.get(), IPPROTO_IP, IP_FREEBIND, 1);
    prepare_connections(fd.get(), family);
    // The first socket is bound without SO_REUSEPORT, to claim the address, and only then lets the
    // others share it: with SO_REUSEPORT from the start, any program of this user could share it.
    if (i > 0) set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
    if (::bind(fd.get(), target.get(), target.size) != 0) throw_for(errno, address);
    if (::listen(fd.get(), backlog) != 0) throw_for(errno, address);
    if (i == 0) {
      set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
      target = bound_address(fd.get());  // with the chosen port
    }
    sockets.push_back(std::move(fd));
  }
  return sockets;
}

}  // namespace

std::vector<UniqueFd> listen_tcp(const net::TcpAddress& address, unsigned count) {
  return listen_tcp(address, count, {}, Readiness::present);
}

std::vector<UniqueFd> listen_tcp_on(const std::string& interface, const net::TcpAddress& address,
                                    unsigned count) {
  if (!can_bind_to_devices()) return listen_tcp(address, count, {}, Readiness::early);
  auto sockets = listen_tcp(address, count, interface, Readiness::early);
  if (interface == "lo") return sockets;
  const net::TcpAddress same{address.host, port_of(bound_address(sockets.front().get()))};
  for (UniqueFd& local : listen_tcp(same, count, "lo", Readiness::early)) {
    sockets.push_back(std::move(local));
  }
  return sockets;
}

UniqueFd listen_unix(const net::UnixAddress& address, mode_t mode) {
  const sockaddr_un target = unix_address(address.path);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) throw_for(errno, address);
  const auto bind_it = [&] {
    return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&target), sizeof target) == 0;
  };
  if (!bind_it()) {
    if (errno != EADDRINUSE || !is_socket(address.path)) throw_for(errno, address);
    if (is_alive(target)) throw_for(EADDRINUSE, address);
    log::info("{}: replacing a stale socket", address.path);
    if (::unlink(address.path.c_str()) != 0 && errno != ENOENT) throw_for(errno, address);
    if (!bind_it()) throw_for(errno, address);
  }
  // Before listen(), so that nobody can connect while the file has the mode from the umask.
  if (::chmod(address.path.c_str(), mode) != 0) throw_for(errno, address);
  if (::listen(fd.get(), backlog) != 0) throw_for(errno, address);
  return fd;
}

UnixSocketFile::UnixSocketFile(std::string path) : path_(std::move(path)) {
  struct stat status {};
  if (::lstat(path_.c_str(), &status) == 0) {
    device_ = status.st_dev;
    inode_ = status.st_ino;
  }
}

UnixSocketFile::UnixSocketFile(UnixSocketFile&& other) noexcept
    : path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_) {}

UnixSocketFile::~UnixSocketFile() {
  if (path_.empty()) return;
  struct stat status {};
  // Another process may have replaced the socket file meanwhile.
  if (::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

std::string url_of(int socket) {
  const SocketAddress address = bound_address(socket);
  if (address.storage.ss_family == AF_UNIX) {
    const auto& local = reinterpret_cast<const sockaddr_un&>(address.storage);
    return "unix:" + std::string(local.sun_path);
  }
  return "http://" + net::to_string(net::TcpAddress{host_of(address.storage), port_of(address)});
}

std::vector<InheritedSocket> inherited_sockets() {
  std::vector<InheritedSocket> sockets;
#ifdef NIXBUILD_SYSTEMD
  const int count = ::sd_listen_fds(1);
  for (int i = 0; i < count; ++i) {
    UniqueFd fd(SD_LISTEN_FDS_START + i);
    if (::sd_is_socket(fd.get(), AF_UNSPEC, SOCK_STREAM, 1) <= 0) {
      log::warn(
          "descriptor {} from the service manager is not a listening stream socket, ignoring it",
          fd.get());
      continue;
    }
    ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
    ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
    const SocketAddress address = bound_address(fd.get());
    prepare_connections(fd.get(), address.storage.ss_family);
    net::ListenAddress named;
    if (address.storage.ss_family == AF_UNIX) {
      const auto& local = reinterpret_cast<const sockaddr_un&>(address.storage);
      named = net::UnixAddress{std::string(local.sun_path)};
    } else {
      named = net::TcpAddress{host_of(address.storage), port_of(address)};
    }
    int only_v6 = 0;
    socklen_t size = sizeof only_v6;
    if (address.storage.ss_family == AF_INET6) {
      ::getsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, &size);
    }
    sockets.push_back({std::move(fd), std::move(named), only_v6 != 0});
  }
#endif
  return sockets;
}

}  // namespace nixbuild::http
