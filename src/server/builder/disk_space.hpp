// What to say beside a program's "No space left on device", which rarely tells where.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::builder {

// Whether a message of Nix, git, SQLite or the system says that a disk is full.
bool tells_of_full_disk(std::string_view message);

// "free: 3 MiB at /nix/store, 20480 MiB at /var/lib/nixbuild": each file system once, by the first
// of `directories` that lies on it. Empty where none of them is there.
std::string free_space(const std::vector<std::filesystem::path>& directories);

}  // namespace nixbuild::builder
