// Whether a directory is part of a git repository, which decides what Nix takes for a flake there.
#pragma once

#include <filesystem>
#include <optional>

namespace nixbuild::cli {

// The repository's root, found as Nix finds it: the nearest directory, from this one up, that has a
// .git. `directory` is absolute; what does not exist yet counts as empty.
std::optional<std::filesystem::path> repository_of(const std::filesystem::path& directory);

// Whether git has `file` in its index, ignored or not. False where there is no git.
bool is_tracked(const std::filesystem::path& directory, const std::filesystem::path& file);

}  // namespace nixbuild::cli
