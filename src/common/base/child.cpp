#include "common/base/child.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#endif

#include <cerrno>
#include <initializer_list>

namespace nixbuild {
namespace {

[[noreturn]] void fail_child(const Launch& launch) {
  const int reason = errno;
  static_cast<void>(::write(launch.report, &reason, sizeof reason));
  ::_exit(127);
}

void end_with_parent([[maybe_unused]] int number) {
#ifdef __linux__
  ::prctl(PR_SET_PDEATHSIG, number);
#endif
}

// Standard input, output and error may overlap with the source descriptors, so all three are moved
// out of the way first.
void place_descriptors(const Launch& launch) {
  const int input = ::fcntl(launch.input, F_DUPFD_CLOEXEC, 3);
  const int output = ::fcntl(launch.output, F_DUPFD_CLOEXEC, 3);
  const int error = ::fcntl(launch.error, F_DUPFD_CLOEXEC, 3);
  if (input < 0 || output < 0 || error < 0) fail_child(launch);
  if (::dup2(input, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(error, 2) < 0) fail_child(launch);
#ifdef SYS_close_range
  constexpr unsigned on_exec = 4;  // CLOSE_RANGE_CLOEXEC, since Linux 5.11
  ::syscall(SYS_close_range, 3U, ~0U, on_exec);
#endif
}

void reset_signals() {
  for (int number = 1; number < NSIG; ++number)
    ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

#ifdef __linux__
bool limit_memory(std::uint64_t bytes) {
  struct rlimit limit {};
  if (bytes == 0 || ::getrlimit(RLIMIT_DATA, &limit) != 0) return bytes == 0;
  if (limit.rlim_max <= bytes) return true;
  limit.rlim_cur = limit.rlim_max = bytes;
  return ::setrlimit(RLIMIT_DATA, &limit) == 0;
}
#endif

[[noreturn]] void execute(const Launch& launch) {
#ifdef __linux__
  if (!limit_memory(launch.memory_limit)) fail_child(launch);
#endif
  place_descriptors(launch);
  if (launch.directory != nullptr && ::chdir(launch.directory) != 0) fail_child(launch);
  reset_signals();
  ::execve(launch.program, launch.arguments, launch.environment);
  fail_child(launch);
}

#ifdef __linux__
void close_everything() {
#ifdef SYS_close_range
  if (::syscall(SYS_close_range, 0U, ~0U, 0U) == 0) return;
#endif
  for (int fd = 0; fd < 65536; ++fd)
    ::close(fd);
}

// Privileges inside a user namespace with which a program could change its view of the system, or
// take over the namespace's first process, which keeps them. As root it would regain them by
// execve(2).
bool give_up_privileges() {
  for (const int capability :
       {CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT, CAP_SYS_TIME,
        CAP_MKNOD, CAP_NET_ADMIN, CAP_MAC_ADMIN, CAP_MAC_OVERRIDE, CAP_SYSLOG, CAP_SETPCAP}) {
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return false;
  }
  return true;
}

// A process cannot join another PID namespace, only its children can. The process that joins stays
// outside, waits for its child, and exits the way the child did.
[[noreturn]] void execute_in_namespaces(const Launch& launch) {
  for (std::size_t i = 0; i < launch.namespace_count; ++i) {
    // System call filters such as systemd's require that the type is named.
    const int type = ::ioctl(launch.namespaces[i], NS_GET_NSTYPE);
    if (type < 0 || ::setns(launch.namespaces[i], type) != 0) fail_child(launch);
  }
  if (!give_up_privileges()) fail_child(launch);
  const pid_t child = ::fork();
  if (child < 0) fail_child(launch);
  if (child == 0) {
    end_with_parent(SIGTERM);
    execute(launch);
  }
  // Signals that end the process group are left to the program.
  for (const int number : {SIGTERM, SIGINT, SIGHUP})
    ::signal(number, SIG_IGN);
  close_everything();
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) ::_exit(WEXITSTATUS(status));
  reset_signals();
  ::kill(::getpid(), WTERMSIG(status));
  ::_exit(128 + WTERMSIG(status));
}
#endif

}  // namespace

void run_child(const Launch& launch) {
  if (launch.new_session) {
    ::setsid();
  } else {
    ::setpgid(0, 0);
  }
  if (launch.ends_with_parent) {
    end_with_parent(launch.namespace_count == 0 ? SIGTERM : SIGKILL);
    if (::getppid() != launch.parent) ::_exit(127);
  }
#ifdef __linux__
  if (launch.namespace_count > 0) execute_in_namespaces(launch);
#endif
  execute(launch);
}

}  // namespace nixbuild
