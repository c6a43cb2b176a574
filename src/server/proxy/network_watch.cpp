#include "server/proxy/network_watch.hpp"

#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"
#include "server/http/interface_watch.hpp"

namespace nixbuild::proxy {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::seconds between_calls{1};

// What of the network counts: each interface that works, with its addresses. The kernel also tells
// of other changes, such as scans of wireless networks.
std::set<std::string> network_state() {
  std::set<std::string> state;
  try {
    http::visit_interface_addresses([&](const ifaddrs& entry, const std::string& host) {
      if ((entry.ifa_flags & IFF_RUNNING) != 0) {
        state.insert(std::string(entry.ifa_name) + ' ' + host);
      }
    });
  } catch (const SystemError&) {
    state.clear();
  }
  return state;
}

// Makes the descriptor readable when the clock is set. Source: timerfd_create(2),
// TFD_TIMER_CANCEL_ON_SET.
void arm_clock(int fd) {
  itimerspec never{};
  never.it_value.tv_sec = std::numeric_limits<time_t>::max();
  if (::timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr) != 0 &&
      errno != ECANCELED) {
    throw SystemError(errno, "watching the clock");
  }
}

asio::awaitable<void> pause() {
  asio::steady_timer timer(co_await asio::this_coro::executor, between_calls);
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
}

asio::awaitable<void> watch_addresses(std::unique_ptr<http::InterfaceWatch> kernel, UniqueFd fd,
                                      std::shared_ptr<std::function<void()>> changed) {
  asio::posix::stream_descriptor descriptor(co_await asio::this_coro::executor, fd.release());
  std::set<std::string> known = network_state();
  for (;;) {
    const auto [error] = co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                                        asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
    kernel->on_event(0);  // reads the messages
    std::set<std::string> now = network_state();
    if (now == known) continue;
    known = std::move(now);
    (*changed)();
    asio::awaitable<void> pausing = pause();
    co_await std::move(pausing);
  }
}

asio::awaitable<void> watch_clock(UniqueFd fd, std::shared_ptr<std::function<void()>> changed) {
  asio::posix::stream_descriptor descriptor(co_await asio::this_coro::executor, fd.release());
  for (;;) {
    const auto [error] = co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                                        asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
    std::uint64_t expirations = 0;
    (void)!::read(descriptor.native_handle(), &expirations, sizeof expirations);
    arm_clock(descriptor.native_handle());
    (*changed)();
    asio::awaitable<void> pausing = pause();
    co_await std::move(pausing);
  }
}

}  // namespace

void watch_network(const asio::any_io_executor& executor, std::function<void()> changed) {
  const auto shared = std::make_shared<std::function<void()>>(std::move(changed));
  UniqueFd clock(::timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!clock) throw SystemError(errno, "watching the clock");
  arm_clock(clock.get());
  asio::co_spawn(executor, watch_clock(std::move(clock), shared), asio::detached);

  auto kernel = std::make_unique<http::InterfaceWatch>([] {});
  UniqueFd copy(::fcntl(kernel->fd(), F_DUPFD_CLOEXEC, 0));
  if (!copy) throw SystemError(errno, "watching this machine's addresses");
  asio::co_spawn(executor, watch_addresses(std::move(kernel), std::move(copy), shared),
                 asio::detached);
}

}  // namespace nixbuild::proxy
