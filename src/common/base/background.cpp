#include "common/base/background.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

namespace nixbuild {
namespace {

void close_from(int first) {
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, static_cast<unsigned>(first), ~0U, 0U) == 0) return;
#endif
  for (int fd = first; fd < 65536; ++fd)
    ::close(fd);
}

}  // namespace

void run_in_background(const std::function<void()>& work, unsigned seconds) {
  if (::fork() != 0) return;
  ::setsid();
  const int null = ::open("/dev/null", O_RDWR);
  if (null < 0) ::_exit(1);
  for (int fd = 0; fd <= 2; ++fd)
    ::dup2(null, fd);
  close_from(3);
  if (::chdir("/") != 0) ::_exit(1);
  ::signal(SIGALRM, SIG_DFL);
  ::alarm(seconds);
  try {
    work();
  } catch (...) {
    ::_exit(1);
  }
  ::_exit(0);
}

}  // namespace nixbuild
