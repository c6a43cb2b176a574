// Listening sockets: opened here, or inherited from the service manager.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "common/base/unique_fd.hpp"
#include "common/net/listen_address.hpp"

namespace nixbuild::http {

// `count` sockets that share one address, one for each thread. Fails if another socket listens on
// the address, even one that would share it. Throws SystemError naming the address, UsageError if
// it is not a valid one.
std::vector<UniqueFd> listen_tcp(const net::TcpAddress& address, unsigned count);

// The same for an address that the interface may not have yet. Linux accepts connections to an
// address on any interface; these sockets accept only connections that arrive on this one and,
// through `count` further sockets, connections from this machine, which reach all of its addresses
// over loopback.
std::vector<UniqueFd> listen_tcp_on(const std::string& interface, const net::TcpAddress& address,
                                    unsigned count);

// The file of a listening unix socket; the destructor removes it.
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
  bool only_v6 = false;  // an IPv6 wildcard socket that accepts no IPv4 connections
};

// Takes over the sockets passed to this process; a second call returns none.
std::vector<InheritedSocket> inherited_sockets();

// "http://127.0.0.1:5000" or "unix:/run/x.sock".
std::string url_of(int socket);

}  // namespace nixbuild::http
