#include "server/proxy/socket_poll.hpp"

#include <sys/epoll.h>

#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "server/http/contain.hpp"

namespace nixbuild::proxy {
namespace {

namespace asio = boost::asio;

constexpr int events_a_round = 64;
// Rounds of events before other work of the thread runs.
constexpr int rounds_a_turn = 4;

int make_epoll() {
  UniqueFd fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!fd) throw SystemError(errno, "creating an epoll set");
  return fd.release();
}

}  // namespace

SocketPoll::SocketPoll(const asio::any_io_executor& executor,
                       std::function<void(const Ready&)> on_ready)
    : on_ready_(std::move(on_ready)), epoll_(executor, make_epoll()) {
  wait();
}

SocketPoll::~SocketPoll() {
  *alive_ = false;
}

void SocketPoll::watch(int fd, bool read, bool write) {
  epoll_event event{};
  event.events = (read ? std::uint32_t{EPOLLIN} : 0U) | (write ? std::uint32_t{EPOLLOUT} : 0U);
  event.data.fd = fd;
  if (::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_MOD, fd, &event) == 0) return;
  if (errno == ENOENT && ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, fd, &event) == 0) {
    return;
  }
  throw SystemError(errno, "watching a socket");
}

void SocketPoll::unwatch(int fd) {
  ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_DEL, fd, nullptr);
}

void SocketPoll::wait() {
  epoll_.async_wait(asio::posix::stream_descriptor::wait_read,
                    [this, alive = alive_](const boost::system::error_code& error) {
                      if (*alive && !error) deliver();
                    });
}

void SocketPoll::deliver() {
  for (int round = 0; round < rounds_a_turn; ++round) {
    std::array<epoll_event, events_a_round> events;
    const int count = ::epoll_wait(epoll_.native_handle(), events.data(), events_a_round, 0);
    if (count <= 0) return wait();
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      const Ready ready{event.data.fd, (event.events & EPOLLIN) != 0,
                        (event.events & EPOLLOUT) != 0,
                        (event.events & (EPOLLERR | EPOLLHUP)) != 0};
      http::contain("a socket of an upstream", [&] { on_ready_(ready); });
    }
  }
  asio::post(epoll_.get_executor(), [this, alive = alive_] {
    if (*alive) deliver();
  });
}

}  // namespace nixbuild::proxy
