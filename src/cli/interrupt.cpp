#include "cli/interrupt.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "common/base/error.hpp"
#include "common/base/unique_fd.hpp"

namespace nixbuild::cli {
namespace {

constexpr std::array signals = {SIGINT, SIGTERM, SIGHUP};

UniqueFd read_end;
UniqueFd write_end;
std::array<struct sigaction, signals.size()> former;
volatile sig_atomic_t received = 0;

void take(int signal) {
  const int saved = errno;
  if (received == 0) {
    received = signal;
    (void)!::write(write_end.get(), "", 1);
  }
  errno = saved;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  int ends[2];
  if (::pipe(ends) != 0) throw SystemError(errno, "cannot make a pipe");
  read_end.reset(ends[0]);
  write_end.reset(ends[1]);
  for (const int end : ends) {
    ::fcntl(end, F_SETFD, FD_CLOEXEC);
    ::fcntl(end, F_SETFL, O_NONBLOCK);
  }
  struct sigaction action = {};
  action.sa_handler = take;
  for (std::size_t i = 0; i < signals.size(); ++i) {
    ::sigaction(signals[i], nullptr, &former[i]);
    // An ignored signal stays ignored: nohup, or a shell's background job.
    if (former[i].sa_handler != SIG_IGN) ::sigaction(signals[i], &action, nullptr);
  }
}

InterruptGuard::~InterruptGuard() {
  for (std::size_t i = 0; i < signals.size(); ++i)
    ::sigaction(signals[i], &former[i], nullptr);
  read_end.reset();
  write_end.reset();
}

int InterruptGuard::fd() const noexcept {
  return read_end.get();
}

bool InterruptGuard::is_interrupted() const noexcept {
  return received != 0;
}

void InterruptGuard::die() {
  ::signal(received, SIG_DFL);
  ::raise(received);
  ::_exit(128 + received);
}

}  // namespace nixbuild::cli
