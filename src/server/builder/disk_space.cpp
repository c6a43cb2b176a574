#include "server/builder/disk_space.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>

namespace nixbuild::builder {

bool tells_of_full_disk(std::string_view message) {
  constexpr std::array<std::string_view, 3> phrases = {
      "No space left on device", "database or disk is full", "Disk quota exceeded"};
  return std::any_of(phrases.begin(), phrases.end(), [&](std::string_view phrase) {
    return message.find(phrase) != std::string_view::npos;
  });
}

std::string free_space(const std::vector<std::filesystem::path>& directories) {
  std::string text;
  std::set<dev_t> seen;
  for (const auto& directory : directories) {
    struct stat status {};
    struct statvfs space {};
    if (::stat(directory.c_str(), &status) != 0 || !seen.insert(status.st_dev).second) continue;
    if (::statvfs(directory.c_str(), &space) != 0) continue;
    const std::uint64_t bytes = std::uint64_t{space.f_frsize} * space.f_bavail;
    text += fmt::format("{}{} MiB at {}", text.empty() ? "free: " : ", ", bytes >> 20,
                        directory.string());
  }
  return text;
}

}  // namespace nixbuild::builder
