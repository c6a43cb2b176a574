// The commands to run after the files are written, either printed or run.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/bootstrap/generated_files.hpp"
#include "cli/machine/nix_settings.hpp"

namespace nixbuild::cli {

struct NextSteps {
  std::filesystem::path directory;  // in which the commands are run
  bool is_elsewhere = false;        // it is not the working directory
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::vector<std::string>> commands;
};

// What the commands depend on.
struct SwitchConditions {
  std::string configuration = "default";  // its name in the flake
  bool in_git = false;
  std::vector<std::string> to_add;  // to git; relative to the directory
  bool has_flakes = true;           // Nix has them enabled
  bool has_home_manager = true;
  bool may_substitute = true;    // the daemon accepts the user's substituters
  std::string backup_extension;  // empty: no file is in home-manager's way
  std::string cache_url;
  std::string public_key;
};

NextSteps next_steps(std::filesystem::path directory, bool is_elsewhere,
                     const SwitchConditions& conditions);

// The lines that the daemon's nix.conf needs, so that this user can substitute from the cache once
// the plan is in place; nothing if it needs none.
std::optional<std::string> lines_for_daemon(const HomePlan& plan, const std::string& cache_url,
                                            const LocalNix& nix);

// As lines for a shell.
std::string render(const NextSteps& steps);

// Runs the commands in turn; their output goes to standard error. Throws Error if one fails.
void run_steps(const NextSteps& steps);

// Files that home-manager would refuse to replace: those of `managed` that exist in `home` and are
// not links that home-manager made.
std::vector<std::filesystem::path> files_in_the_way(
    const std::filesystem::path& home, const std::vector<std::filesystem::path>& managed);
// For `home-manager switch -b EXTENSION`, which renames FILE to FILE.EXTENSION: one that no file
// has yet, as home-manager does not overwrite backups.
std::string backup_extension(const std::filesystem::path& home,
                             const std::vector<std::filesystem::path>& files);

}  // namespace nixbuild::cli
