// Explains a program's "No space left on device", which rarely says where.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::builder {

// Whether a message of Nix, git, SQLite or the system says that a disk is full.
bool tells_of_full_disk(std::string_view message);

// "free: 3 MiB at /nix/store, 20480 MiB at /var/lib/nixbuild": each file system once, by the first
// of `directories` on it. Empty if none of them exists.
std::string free_space(const std::vector<std::filesystem::path>& directories);

}  // namespace nixbuild::builder
