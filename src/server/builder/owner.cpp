#include "server/builder/owner.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "common/base/error.hpp"

namespace nixbuild::builder {

void become_owner_of(const std::filesystem::path& state_dir) {
  struct stat status {};
  if (::access(state_dir.c_str(), W_OK | X_OK) != 0 && errno == EACCES) {
    throw UsageError(fmt::format(
        "state directory {}: this user may not write there; run the command by sudo, or give "
        "--state-dir",
        state_dir.string()));
  }
  if (::geteuid() != 0 || ::stat(state_dir.c_str(), &status) != 0 || status.st_uid == 0) return;
  const passwd* user = ::getpwuid(status.st_uid);
  const gid_t group = user != nullptr ? user->pw_gid : status.st_gid;
  const bool done =
      (user != nullptr ? ::initgroups(user->pw_name, group) : ::setgroups(0, nullptr)) == 0 &&
      ::setgid(group) == 0 && ::setuid(status.st_uid) == 0;
  if (!done) {
    throw SystemError(errno, fmt::format("becoming the owner of {}", state_dir.string()));
  }
  // Otherwise the files in /proc/self stay owned by root, and a build could not get a file system
  // view of its own.
  ::prctl(PR_SET_DUMPABLE, 1);
  // Root's directories cannot be used by this user.
  for (const char* name : {"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
                           "XDG_RUNTIME_DIR"}) {
    ::unsetenv(name);
  }
  ::setenv("HOME", user != nullptr ? user->pw_dir : "/", 1);
  if (user != nullptr) {
    ::setenv("USER", user->pw_name, 1);
    ::setenv("LOGNAME", user->pw_name, 1);
  }
}

std::string invoking_user() {
  for (const char* name : {"SUDO_USER", "DOAS_USER"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  const passwd* user = ::getpwuid(::getuid());
  return user == nullptr ? std::string() : user->pw_name;
}

}  // namespace nixbuild::builder
