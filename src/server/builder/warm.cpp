#include "server/builder/warm.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"

namespace nixbuild::builder {
namespace {

// It answers before it begins, so this is long.
constexpr timeval patience{5, 0};

UniqueFd connect_to(const std::filesystem::path& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = socket_path.string();
  if (path.size() >= sizeof address.sun_path) return {};
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw SystemError(errno, "making a socket");
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return {};
  }
  return fd;
}

}  // namespace

bool warm_cache(const std::filesystem::path& control_socket,
                const std::vector<std::string>& store_paths) {
  const UniqueFd fd = connect_to(control_socket);
  if (!fd) return false;
  std::string body;
  for (const std::string& path : store_paths)
    body += path + "\n";
  const std::string request = fmt::format(
      "POST /warm HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: "
      "{}\r\nConnection: close\r\n\r\n{}",
      body.size(), body);
  std::string_view rest = request;
  while (!rest.empty()) {
    const ssize_t n = ::send(fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SystemError(errno, fmt::format("writing to {}", control_socket.string()));
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  std::string answer;
  std::array<char, 4096> buffer;
  while (answer.size() < buffer.size()) {
    const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SystemError(errno, fmt::format("reading from {}", control_socket.string()));
    if (n == 0) break;
    answer.append(buffer.data(), static_cast<std::size_t>(n));
  }
  const std::string status = answer.substr(0, answer.find('\r'));
  if (!status.starts_with("HTTP/1.1 2")) {
    throw Error(fmt::format("{} answered '{}'", control_socket.string(), status));
  }
  return true;
}

}  // namespace nixbuild::builder
