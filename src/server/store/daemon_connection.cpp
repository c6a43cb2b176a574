#include "server/store/daemon_connection.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace nixbuild::store {

namespace {

using namespace std::chrono_literals;

// The worker protocol's handshake; all numbers are 64 bits, little-endian (source: Nix's
// worker-protocol.hh). Protocol 1.21 is old enough to need no negotiation, and new enough for every
// daemon to accept it.
constexpr std::uint64_t client_magic = 0x6e697863;
constexpr std::uint64_t daemon_magic = 0x6478696f;
constexpr std::uint64_t protocol_version = 1 << 8 | 21;
constexpr std::uint64_t no_cpu_affinity = 0;
constexpr std::uint64_t no_reserved_space = 0;
constexpr std::uint64_t log_ends = 0x616c7473;

constexpr std::size_t answer_limit = 4096;
constexpr auto answer_time = 2s;
constexpr auto pause_when_silent = 10s;
constexpr auto pause_when_absent = 100ms;

void put(std::string& out, std::uint64_t number) {
  for (int shift = 0; shift < 64; shift += 8)
    out += static_cast<char>(number >> shift & 0xff);
}

std::uint64_t get(std::string_view bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = 8; i-- > 0;)
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  return number;
}

}  // namespace

DaemonConnection::DaemonConnection(std::filesystem::path socket) : socket_(std::move(socket)) {}

DaemonConnection::State DaemonConnection::advance() {
  if (state_ == State::absent) {
    if (Clock::now() < not_before_) return state_;
    if (!connect() || !send_hello()) {
      close(pause_when_absent);
      return state_;
    }
    answer_.clear();
    deadline_ = Clock::now() + answer_time;
    state_ = State::pending;
  }
  state_ = receive();
  return state_;
}

void DaemonConnection::close(Clock::duration pause) noexcept {
  fd_.reset();
  not_before_ = Clock::now() + pause;
  state_ = State::absent;
}

bool DaemonConnection::connect() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& name = socket_.native();
  if (name.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
  fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return fd_ &&
         ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

// The daemon reads in order, so send our whole part at once. 32 bytes fit into any socket buffer.
bool DaemonConnection::send_hello() noexcept {
  std::string hello;
  for (const auto number : {client_magic, protocol_version, no_cpu_affinity, no_reserved_space}) {
    put(hello, number);
  }
  return ::send(fd_.get(), hello.data(), hello.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(hello.size());
}

DaemonConnection::State DaemonConnection::receive() {
  const auto give_up = [this](Clock::duration pause) {
    close(pause);
    return state_;
  };
  std::array<char, 512> buffer;
  for (;;) {
    const ssize_t count = ::recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (count > 0) {
      if (state_ == State::pending) answer_.append(buffer.data(), static_cast<std::size_t>(count));
      if (answer_.size() > answer_limit) return give_up(pause_when_silent);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    return give_up(pause_when_absent);  // closed by the daemon
  }
  if (state_ == State::ready) return state_;
  // The daemon's magic and version, then possibly log messages, then the end of these.
  const bool greeted = answer_.size() >= 16 && get(answer_) == daemon_magic;
  const bool complete = greeted && answer_.size() >= 24 && answer_.size() % 8 == 0 &&
                        get(std::string_view(answer_).substr(answer_.size() - 8)) == log_ends;
  if (complete) return State::ready;
  if (Clock::now() >= deadline_) return give_up(pause_when_silent);
  return State::pending;
}

}  // namespace nixbuild::store
