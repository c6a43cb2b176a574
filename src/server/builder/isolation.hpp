// Isolates the programs of a build: they see a view of the file system with only the paths listed
// here, and only their own processes.
//
// git, nix and their child processes run in separate namespaces. The root of their mount namespace
// is an empty file system, with read-only bind mounts of the system's directories and of the paths
// in `View`. Nothing of the real root stays mounted, so there is nothing to uncover. There is also
// a user namespace, even for root: the programs have no privileges outside of it, and inside of it
// they lose those that could change the view (see Command::namespaces). The kernel kills all
// processes of the pid namespace when its first process ends. That process only waits for the end
// of run-build, so no process of a build outlives run-build, even after `kill -9`.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "common/base/unique_fd.hpp"

namespace nixbuild::builder {

// Paths that do not exist are skipped. Each path is visible under its own name and, if that
// contains symbolic links, under its real name.
struct View {
  std::vector<std::filesystem::path> writable;
  std::vector<std::filesystem::path> readable;
  // Files under other names: the real path and the visible one. A directory created for such a file
  // cannot be copied into the Nix store as a whole.
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>> placed;
  // Visible as /tmp and /var/tmp.
  std::filesystem::path temporary;
  // Files and directories that stay hidden even if they are inside one of the others, except for
  // the paths listed above.
  std::vector<std::filesystem::path> hidden;
};

class Isolation {
 public:
  // No namespaces: programs run without isolation.
  Isolation() = default;
  // Throws SystemError if the system does not allow it; the message names the failed step.
  explicit Isolation(const View& view);
  ~Isolation();
  Isolation(Isolation&& other) noexcept;
  Isolation& operator=(Isolation&& other) noexcept;

  explicit operator bool() const noexcept { return first_process_ > 0; }
  pid_t first_process() const noexcept { return first_process_; }
  // For Command::namespaces.
  const std::vector<int>& namespaces() const noexcept { return joined_; }

  // Kills all its processes, and returns when they have ended.
  void end();

 private:
  pid_t first_process_ = -1;
  std::vector<UniqueFd> descriptors_;
  std::vector<int> joined_;
};

// Whether `path` is always visible, because it is in one of the system's directories.
bool is_part_of_system(const std::filesystem::path& path);

}  // namespace nixbuild::builder
