#include "server/builder/gc_roots.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>
#include <string_view>
#include <system_error>

namespace nixbuild::builder {
namespace {

namespace fs = std::filesystem;

// The names of a build's targets.
struct Names {
  std::set<std::string_view> all;
  std::set<std::string_view> failed;

  // Whether the build has the target, or failed to evaluate a set that may contain it.
  bool know(std::string_view name) const {
    if (all.contains(name)) return true;
    for (std::size_t dot = name.find('.'); dot != std::string_view::npos;
         dot = name.find('.', dot + 1)) {
      if (failed.contains(name.substr(0, dot))) return true;
    }
    return false;
  }
};

std::optional<std::int64_t> number_of(const fs::path& directory) {
  const std::string name = directory.filename().string();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

void remove_roots(const fs::path& directory,
                  const std::function<bool(const std::string& name, const fs::path& path)>& stays) {
  std::error_code error;
  std::vector<fs::path> removed;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const fs::path target = fs::read_symlink(entry.path(), error);
    if (error || !stays(entry.path().filename().string(), target)) removed.push_back(entry.path());
  }
  for (const fs::path& path : removed)
    fs::remove(path, error);
  fs::remove(directory, error);  // only if it is empty
}

}  // namespace

std::map<std::int64_t, KeptRoots> roots_to_keep(const std::vector<history::BuildTargets>& builds,
                                                int keep) {
  struct Target {
    int successes = 0;
    int absences = 0;  // in newer builds with a success
    std::size_t looked_at = 0;
  };
  struct Branch {
    std::map<std::string_view, Target> targets;
    std::vector<Names> newer;
  };
  std::map<std::string_view, Branch> branches;
  std::string_view newest_branch;
  std::map<std::int64_t, KeptRoots> kept;
  for (const history::BuildTargets& build : builds) {
    if (newest_branch.empty()) newest_branch = build.branch;
    // A build that failed before finding its targets says nothing about them.
    if (build.targets.empty()) continue;
    auto& [targets, newer] = branches[build.branch.empty() ? newest_branch : build.branch];
    Names names;
    for (const protocol::Target& target : build.targets) {
      names.all.insert(target.name);
      if (target.result != protocol::TargetResult::success) {
        names.failed.insert(target.name);
        continue;
      }
      Target& known = targets[target.name];
      for (; known.looked_at < newer.size(); ++known.looked_at) {
        if (!newer[known.looked_at].know(target.name)) ++known.absences;
      }
      if (known.successes >= keep || known.absences >= keep) continue;
      ++known.successes;
      KeptRoots& roots = kept[build.id];
      for (const protocol::Output& output : target.outputs)
        roots.outputs.insert(output.path);
      if (target.name.starts_with("devShells.")) roots.has_dev_shell = true;
    }
    // A build without any success, such as one that was killed, replaces nothing.
    if (names.failed.size() < names.all.size()) newer.push_back(std::move(names));
  }
  return kept;
}

std::vector<std::int64_t> rooted_builds(const fs::path& roots) {
  std::vector<std::int64_t> builds;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(roots, error)) {
    if (const auto number = number_of(entry.path())) builds.push_back(*number);
  }
  std::sort(builds.begin(), builds.end(), std::greater<>());
  return builds;
}

void remove_old_roots(const fs::path& roots, const std::map<std::int64_t, KeptRoots>& kept,
                      const std::set<std::int64_t>& known, int keep) {
  int newer = 0;
  for (const std::int64_t build : rooted_builds(roots)) {
    const auto found = kept.find(build);
    const bool is_kept_whole = !known.contains(build) && newer < keep;
    const auto stays = [&](const std::string& name, const fs::path& path) {
      if (name.starts_with(evaluation_root)) return false;
      if (is_kept_whole) return true;
      if (found == kept.end()) return false;
      if (name.starts_with(input_root)) return found->second.has_dev_shell;
      return found->second.outputs.contains(path.string());
    };
    const fs::path directory = roots / std::to_string(build);
    remove_roots(directory, stays);
    std::error_code error;
    if (fs::exists(directory, error)) ++newer;
  }
}

}  // namespace nixbuild::builder
