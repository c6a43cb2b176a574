// Decides which generations of a profile garbage collection may delete.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <vector>

namespace nixbuild::cli {

// A generation of a profile: the link NAME-NUMBER-link.
struct Generation {
  std::int64_t number = 0;
  std::chrono::sys_seconds created;
  std::filesystem::path store_path;
  bool is_current = false;  // the profile is this one
};

// All of them, newest first; empty if the profile cannot be read.
std::vector<Generation> generations_of(const std::filesystem::path& profile);

// The numbers of those to delete: they are older than `age`, not among the newest `count`, not the
// current one, and none of `in_use`, the store paths that run or were booted.
std::vector<std::int64_t> old_generations(const std::vector<Generation>& generations,
                                          std::chrono::sys_seconds now, std::chrono::seconds age,
                                          std::size_t count,
                                          const std::set<std::filesystem::path>& in_use);

// The systems that run and were booted: what /run/current-system and /run/booted-system are.
std::set<std::filesystem::path> systems_in_use();

}  // namespace nixbuild::cli
