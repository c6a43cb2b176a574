#include "server/builder/remote_refs.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/error.hpp"
#include "common/base/nearest.hpp"
#include "common/config/service_settings.hpp"

namespace nixbuild::builder {
namespace {

constexpr std::string_view branch_prefix = "refs/heads/";
constexpr std::string_view tag_prefix = "refs/tags/";

bool is_valid(std::string_view name) {
  try {
    config::check_branch(name);
    return true;
  } catch (const UsageError&) {
    return false;
  }
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string known(std::string_view plural, std::string_view word,
                  const std::vector<std::string>& names) {
  return names.empty() ? fmt::format("; it has no {}", plural)
                       : "; " + known_names(plural, word, names);
}

}  // namespace

RemoteRefs parse_remote_refs(std::string_view output) {
  RemoteRefs refs;
  while (!output.empty()) {
    const std::string_view line = output.substr(0, output.find('\n'));
    output.remove_prefix(std::min(line.size() + 1, output.size()));
    const std::size_t tab = line.find('\t');
    if (tab == std::string_view::npos) continue;
    const std::string_view ref = line.substr(tab + 1);
    for (const auto& [prefix, names] :
         {std::pair(branch_prefix, &refs.branches), std::pair(tag_prefix, &refs.tags)}) {
      if (!ref.starts_with(prefix)) continue;
      const std::string_view name = ref.substr(prefix.size());
      if (is_valid(name)) names->emplace_back(name);
    }
  }
  return refs;
}

std::optional<std::string> branch_without_head(const RemoteRefs& refs) {
  if (refs.branches.size() == 1) return refs.branches.front();
  for (const char* name : {"main", "master"}) {
    if (contains(refs.branches, name)) return name;
  }
  return std::nullopt;
}

std::string absence(const config::Repository& repository, const RemoteRefs& refs) {
  const std::string url = config::without_credentials(repository.url);
  if (refs.branches.empty() && refs.tags.empty()) {
    return fmt::format("{} is empty; push a commit to it", url);
  }
  if (repository.ref) {
    const std::string& ref = *repository.ref;
    if (contains(refs.branches, ref)) {
      return fmt::format("{} has no tag '{}'; it is a branch, so set branch instead of ref", url,
                         ref);
    }
    return fmt::format("{} has no tag '{}'{}", url, ref, known("tags", ref, refs.tags));
  }
  if (repository.branch) {
    const std::string& branch = *repository.branch;
    if (contains(refs.tags, branch)) {
      return fmt::format("{} has no branch '{}'; it is a tag, so set ref instead of branch", url,
                         branch);
    }
    return fmt::format("{} has no branch '{}'{}", url, branch,
                       known("branches", branch, refs.branches));
  }
  if (refs.branches.empty()) {
    return fmt::format("{} has no branches; set ref to one of its tags: {}", url,
                       list_names(refs.tags));
  }
  return fmt::format("the HEAD of {} names a branch that does not exist; set branch to one of: {}",
                     url, list_names(refs.branches));
}

}  // namespace nixbuild::builder
