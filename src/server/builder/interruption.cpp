#include "server/builder/interruption.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

#include "server/history/history.hpp"

namespace nixbuild::builder {
namespace {

sigset_t ending_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP})
    ::sigaddset(&signals, number);
  return signals;
}

bool is_readable(int fd) {
  pollfd descriptor{fd, POLLIN, 0};
  return ::poll(&descriptor, 1, 0) > 0;
}

std::string format_duration(std::chrono::seconds duration) {
  using namespace std::chrono;
  if (duration % hours(1) == seconds(0))
    return fmt::format("{} h", duration_cast<hours>(duration).count());
  if (duration % minutes(1) == seconds(0)) {
    return fmt::format("{} min", duration_cast<minutes>(duration).count());
  }
  return fmt::format("{} s", duration.count());
}

}  // namespace

Interruption::Interruption() {
  const sigset_t signals = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signals_.reset(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  both_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!signals_ || !timer_ || !both_) throw SystemError(errno, "preparing to be interrupted");
  for (const int fd : {signals_.get(), timer_.get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(both_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
      throw SystemError(errno, "preparing to be interrupted");
    }
  }
}

Interruption::~Interruption() {
  // A signal that arrives late must not end the process now.
  static_cast<void>(reason());
  const sigset_t signals = ending_signals();
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

void Interruption::set_timeout(std::chrono::seconds timeout) {
  timeout_ = timeout;
  itimerspec when{};
  when.it_value.tv_sec = timeout.count();
  if (::timerfd_settime(timer_.get(), 0, &when, nullptr) != 0) {
    throw SystemError(errno, "setting the build's timeout");
  }
}

std::optional<std::string> Interruption::reason() {
  signalfd_siginfo signal{};
  while (::read(signals_.get(), &signal, sizeof signal) == static_cast<ssize_t>(sizeof signal)) {
    if (!reason_) reason_ = history::reason_cancelled;
  }
  // The timer is not read, so that fd() stays readable.
  if (!reason_ && is_readable(timer_.get())) {
    reason_ = fmt::format("timed out after {}", format_duration(timeout_));
  }
  return reason_;
}

bool Interruption::has_come() {
  return reason().has_value();
}

void Interruption::check() {
  if (const auto why = reason()) throw Interrupted(*why);
}

}  // namespace nixbuild::builder
