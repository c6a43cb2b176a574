#include "server/history/state_layout.hpp"

#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <exception>

#include "../support/skip.hpp"
#include "../support/temporary_directory.hpp"

using namespace nixbuild::history;

namespace {

mode_t mode_of(const std::filesystem::path& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

// Like systemd's RestrictSUIDSGID=, but refuses chmod with any mode. Architectures without chmod
// use fchmodat.
bool forbid_chmod() {
  std::array filter{
      sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
#ifdef SYS_chmod
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_chmod, 1, 0),
#else
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fchmodat, 1, 0),
#endif
      sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fchmodat, 0, 1),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

TEST_CASE("directories can be written by the group, and keep it, whatever the umask") {
  const nixbuild::test::TemporaryDirectory directory;
  const mode_t before = ::umask(077);
  StateLayout(directory.path() / "state").create();
  ::umask(before);
  CHECK(mode_of(directory.path() / "state") == 02770);
  CHECK(mode_of(directory.path() / "state/logs") == 02770);
}

TEST_CASE("a service that may set no mode makes them in a directory that keeps its group") {
  const nixbuild::test::TemporaryDirectory directory;
  REQUIRE(::chmod(directory.path().c_str(), 02770) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::umask(007);
    if (!forbid_chmod()) ::_exit(77);
    try {
      StateLayout(directory.path()).create();
    } catch (const std::exception&) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) {
    nixbuild::test::skip("no seccomp here");
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(mode_of(directory.path() / "logs") == 02770);
}
