#include "cli/bootstrap/git_repository.hpp"

#include "cli/machine/short_command.hpp"

namespace nixbuild::cli {

std::optional<std::filesystem::path> repository_of(const std::filesystem::path& directory) {
  for (std::filesystem::path at = directory;; at = at.parent_path()) {
    std::error_code error;
    if (std::filesystem::exists(at / ".git", error)) return at;
    if (at == at.parent_path()) return std::nullopt;
  }
}

bool is_tracked(const std::filesystem::path& directory, const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error)) return false;
  const auto exit = run_briefly({.arguments = {"git", "-C", directory.string(), "ls-files",
                                               "--error-unmatch", "--", file.string()},
                                 .environment = {}});
  return exit && exit->ok();
}

}  // namespace nixbuild::cli
