#include "cli/update/old_generations.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <system_error>

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

// The number in "NAME-NUMBER-link"; 0 if the name has another form.
std::int64_t number_in(std::string_view file, std::string_view profile) {
  constexpr std::string_view end = "-link";
  if (!file.starts_with(profile) || !file.ends_with(end)) return 0;
  file.remove_prefix(profile.size());
  if (!file.starts_with('-') || file.size() <= end.size() + 1) return 0;
  file = file.substr(1, file.size() - end.size() - 1);
  std::int64_t number = 0;
  const auto [rest, error] = std::from_chars(file.data(), file.data() + file.size(), number);
  return error == std::errc() && rest == file.data() + file.size() && number > 0 ? number : 0;
}

}  // namespace

std::vector<Generation> generations_of(const fs::path& profile) {
  std::vector<Generation> generations;
  std::error_code error;
  const std::string name = profile.filename().string();
  const fs::path current = fs::read_symlink(profile, error).filename();
  for (fs::directory_iterator entries(profile.parent_path(), error);
       !error && entries != fs::directory_iterator(); entries.increment(error)) {
    const fs::path& link = entries->path();
    const std::int64_t number = number_in(link.filename().string(), name);
    struct stat status {};
    if (number == 0 || ::lstat(link.c_str(), &status) != 0 || !S_ISLNK(status.st_mode)) continue;
    std::error_code dangling;
    generations.push_back({number, std::chrono::sys_seconds(std::chrono::seconds(status.st_mtime)),
                           fs::canonical(link, dangling), link.filename() == current});
  }
  std::sort(generations.begin(), generations.end(),
            [](const Generation& a, const Generation& b) { return a.number > b.number; });
  return generations;
}

std::vector<std::int64_t> old_generations(const std::vector<Generation>& generations,
                                          std::chrono::sys_seconds now, std::chrono::seconds age,
                                          std::size_t count, const std::set<fs::path>& in_use) {
  std::vector<std::int64_t> old;
  for (std::size_t i = count; i < generations.size(); ++i) {
    const Generation& one = generations[i];
    const bool is_old = one.created < now - age;
    if (is_old && !one.is_current && !in_use.contains(one.store_path)) old.push_back(one.number);
  }
  return old;
}

std::set<fs::path> systems_in_use() {
  std::set<fs::path> systems;
  for (const char* link : {"/run/current-system", "/run/booted-system"}) {
    std::error_code error;
    fs::path path = fs::canonical(link, error);
    if (!error) systems.insert(std::move(path));
  }
  return systems;
}

}  // namespace nixbuild::cli
