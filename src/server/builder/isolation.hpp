// What the programs of a build can see: a view of the file system that holds what is named here and
// nothing else, and no process but their own.
//
// git, nix and what they start run in namespaces of their own. The root of their mount namespace is
// an empty file system into which the system's directories are bound, read-only, and the paths of
// `View`. Nothing of the real root stays mounted, so there is nothing to uncover. A user namespace
// comes with it, for root as well: outside of it the programs have no privilege, and inside of it
// they lose those that could change the view (see Command::namespaces). The kernel empties the pid
// namespace when its first process ends. That process waits for nothing but the end of run-build,
// so nothing of a build outlives run-build, even after `kill -9`.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "common/base/unique_fd.hpp"

namespace nixbuild::builder {

// Whether `path` is `directory` or below it, by their names alone.
bool is_at_or_below(const std::filesystem::path& path, const std::filesystem::path& directory);

// Paths that do not exist are skipped. Each appears under its own name and, if that leads through
// symbolic links, under its real one.
struct View {
  std::vector<std::filesystem::path> writable;
  std::vector<std::filesystem::path> readable;
  // Files under other names: what each is, and where it appears. A directory that is made for one
  // cannot be copied into the Nix store as a whole.
  std::vector<std::pair<std::filesystem::path, std::filesystem::path>> placed;
  // Appears as /tmp and /var/tmp.
  std::filesystem::path temporary;
  // Files, and directories but for what is named above, that stay out of sight even if they lie
  // within one of the others.
  std::vector<std::filesystem::path> hidden;
};

class Isolation {
 public:
  // Without namespaces: programs run as everything else does.
  Isolation() = default;
  // Throws SystemError if the system does not allow it; the message names the step that failed.
  explicit Isolation(const View& view);
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

// Whether the view has `path` without being told: it lies in one of the system's directories.
bool is_part_of_system(const std::filesystem::path& path);

}  // namespace nixbuild::builder
