// The surroundings of the programs that a build starts: they do not see the server's keys, and none
// of them outlives the build.
//
// git, nix and what they start run in namespaces of their own where the system lets them: a mount
// namespace without the directories that hold secrets, and a pid namespace, which the kernel
// empties when its first process ends. That process waits for nothing but the end of run-build, so
// even after `kill -9` nothing of the build lives on, builders with sessions of their own among
// them. The pid namespace has a /proc of its own too: through that of the system, a program could
// look into the mount namespaces of the same user's other processes.
//
// Where there are no such namespaces (a container, a hardened unit), the build runs without; its
// processes are then found as descendants of this one, see leftovers.hpp.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "common/base/unique_fd.hpp"

namespace nixbuild::builder {

struct Visibility {
  // Files that must not be seen. The directory around one is hidden whole unless something that
  // programs need lies in it; then only the file is, as it is now.
  std::vector<std::filesystem::path> secrets;
  // This directory is hidden but for `kept`, paths below it.
  std::filesystem::path state_dir;
  std::vector<std::filesystem::path> kept;
  // What programs need beside the system's usual directories: HOME, the Nix store, …
  std::vector<std::filesystem::path> needed;
};

class Isolation {
 public:
  // Without namespaces: programs run as everything else does.
  Isolation() = default;
  // Throws SystemError where the system does not allow it.
  explicit Isolation(const Visibility& visibility);
  ~Isolation();
  Isolation(Isolation&& other) noexcept;
  Isolation& operator=(Isolation&& other) noexcept;

  explicit operator bool() const noexcept { return first_process_ > 0; }
  pid_t first_process() const noexcept { return first_process_; }
  // For Command::namespaces.
  const std::vector<int>& namespaces() const noexcept { return joined_; }

  // Ends every process in it at once, and returns when all are gone.
  void end();

 private:
  pid_t first_process_ = -1;
  std::vector<UniqueFd> descriptors_;
  std::vector<int> joined_;
};

}  // namespace nixbuild::builder
