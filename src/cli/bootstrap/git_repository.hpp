// Whether a directory is in a git repository: there, a flake only contains the files that git
// knows.
#pragma once

#include <filesystem>
#include <optional>

namespace nixbuild::cli {

// The repository's root, found as Nix finds it: the nearest directory, from this one up, with a
// .git. `directory` is absolute and need not exist.
std::optional<std::filesystem::path> repository_of(const std::filesystem::path& directory);

// Whether `file` is in git's index, ignored or not. False if git is not installed.
bool is_tracked(const std::filesystem::path& directory, const std::filesystem::path& file);

}  // namespace nixbuild::cli
