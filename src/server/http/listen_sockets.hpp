// Sockets to accept from: opened by us, or inherited from the service manager.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/base/unique_fd.hpp"
#include "common/net/listen_address.hpp"

namespace nixbuild::http {

// `count` sockets that share one address, for as many threads. Fails if another socket listens on
// the address, even one that would share it. Throws SystemError naming the address, UsageError if
// it is not a valid one.
std::vector<UniqueFd> listen_tcp(const net::TcpAddress& address, unsigned count);

// The same for an address of an interface, which need not have it yet. Linux accepts connections to
// an address on any interface; these accept only what arrives on this one and, with `count` further
// sockets, what comes from this machine, which reaches all of its addresses over loopback.
std::vector<UniqueFd> listen_tcp_on(const std::string& interface, const net::TcpAddress& address,
                                    unsigned count);

// A listening unix socket's place in the file system, which is removed with the object.
class UnixSocketFile {
 public:
  explicit UnixSocketFile(std::string path);
  UnixSocketFile(UnixSocketFile&& other) noexcept;
  UnixSocketFile& operator=(UnixSocketFile&&) = delete;
  ~UnixSocketFile();

 private:
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// Replaces a socket file on which nobody listens. Throws Error naming the path.
UniqueFd listen_unix(const net::UnixAddress& address, mode_t mode);

// A socket passed by systemd (sd_listen_fds(3)).
struct InheritedSocket {
  UniqueFd fd;
  net::ListenAddress address;
  bool only_v6 = false;  // a socket of all IPv6 addresses takes no IPv4 connections
};

// Takes over the sockets that were passed to this process; a second call returns none.
std::vector<InheritedSocket> inherited_sockets();

// "http://127.0.0.1:5000" or "unix:/run/x.sock".
std::string url_of(int socket);

}  // namespace nixbuild::http
