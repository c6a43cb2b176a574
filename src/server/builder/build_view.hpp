// The files that the programs of one repository's build can see; see isolation.hpp for how.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/builder/isolation.hpp"
#include "server/builder/run_build.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::builder {

// The local path in a repository's URL: "/srv/a.git", "file:///srv/a.git". Empty for other URLs.
std::filesystem::path local_path(const std::string& url);

// The view of what evaluates and builds: the store, the repository's clone, home and GC roots, the
// programs in PATH, its `local_inputs`, and the paths for Nix and TLS in this process's
// environment. Creates missing directories of Nix's store. Shows no other repository, no history,
// no log and no key. The clone is read-only: its .git/config names programs, which git would run.
View build_view(const RunOptions& options, const history::StateLayout& layout,
                const std::filesystem::path& temporary);

// Changes that keep only the environment variables needed by git, Nix and TLS: others may contain
// secrets of the user who started this process.
std::vector<std::pair<std::string, std::optional<std::string>>> scrubbed_environment();

// A directory for the build's temporary files, in $TMPDIR or /tmp. The destructor removes it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() = default;
  explicit TemporaryDirectory(const std::string& repository);  // throws SystemError
  ~TemporaryDirectory();
  TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryDirectory& operator=(TemporaryDirectory&& other) noexcept;

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace nixbuild::builder
