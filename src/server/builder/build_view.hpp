// What the programs of one repository's build can see and reach: see isolation.hpp for how.
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

// A path on this machine, if the repository's URL is one: "/srv/a.git", "file:///srv/a.git". Empty
// otherwise.
std::filesystem::path local_path(const std::string& url);

// The store, the repository's clone, home and GC roots, the programs in PATH, its `local_inputs`,
// and what the environment of this process names for Nix and TLS. Makes the directories of Nix's
// store that are missing. No other repository, no history, no log, no key.
View build_view(const RunOptions& options, const history::StateLayout& layout,
                const std::filesystem::path& temporary);

// Changes that leave of this process's environment what git, Nix and TLS need: the rest may hold
// the secrets of whoever started it.
std::vector<std::pair<std::string, std::optional<std::string>>> scrubbed_environment();

// A directory for temporary files of this build, in $TMPDIR or /tmp, removed with the object.
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
