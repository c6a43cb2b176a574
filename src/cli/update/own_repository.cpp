#include "cli/update/own_repository.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/base/error.hpp"
#include "common/nix/flake_lock.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

Exit git(const Runner& runner, const fs::path& flake, std::vector<std::string> arguments) {
  Command command;
  command.arguments = {"git", "-C", flake.string()};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  try {
    return runner.quiet(std::move(command));
  } catch (const SystemError&) {
    Exit missing;
    missing.code = 127;  // git is not installed
    return missing;
  }
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// The places of the clone's remotes.
std::vector<std::string> places_of(const Runner& runner, const fs::path& flake) {
  std::vector<std::string> remotes = lines_of(git(runner, flake, {"remote"}).output);
  std::stable_partition(remotes.begin(), remotes.end(),
                        [](const std::string& remote) { return remote == "origin"; });
  std::vector<std::string> places;
  for (const std::string& remote : remotes) {
    // Resolves the abbreviations of url.*.insteadOf too.
    const Exit exit = git(runner, flake, {"remote", "get-url", "--", remote});
    const std::vector<std::string> urls = lines_of(exit.output);
    if (!exit.ok() || urls.empty()) continue;
    places.push_back(nix::place_of_url(urls.front()));
  }
  return places;
}

}  // namespace

std::optional<OwnRepository> own_repository(const Runner& runner, const fs::path& flake,
                                            const std::vector<protocol::Repository>& repositories) {
  for (std::string& place : places_of(runner, flake)) {
    for (const protocol::Repository& repository : repositories) {
      if (nix::place_of_url(repository.url) == place) {
        return OwnRepository{repository.name, std::move(place)};
      }
    }
  }
  return std::nullopt;
}

CloneComparison compare_clone(const Runner& runner, const fs::path& flake,
                              const std::string& commit) {
  const auto is_ancestor = [&](const std::string& older, const std::string& newer) {
    return git(runner, flake, {"merge-base", "--is-ancestor", "--", older, newer}).code;
  };
  CloneComparison result;
  result.is_changed = !git(runner, flake, {"diff", "--quiet", "HEAD", "--", "flake.nix"}).ok();
  const std::vector<std::string> head =
      lines_of(git(runner, flake, {"rev-parse", "--verify", "--quiet", "HEAD"}).output);
  if (head.empty()) return result;
  if (head.front() == commit) {
    result.state = CloneState::same;
    return result;
  }
  switch (is_ancestor(commit, head.front())) {
    case 0:
      result.state = CloneState::ahead;
      break;
    case 1:
      result.state =
          is_ancestor(head.front(), commit) == 0 ? CloneState::behind : CloneState::diverged;
      break;
    default:
      break;
  }
  return result;
}

}  // namespace nixbuild::cli
