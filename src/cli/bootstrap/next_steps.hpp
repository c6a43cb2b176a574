// What comes after the files are written: the exact commands, to be shown or run.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace nixbuild::cli {

struct NextSteps {
  std::filesystem::path directory;  // in which the commands are run
  bool is_elsewhere = false;        // than where the person is
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::vector<std::string>> commands;
};

// What is known of the machine that decides about the commands.
struct SwitchConditions {
  bool in_git = false;
  std::vector<std::string> to_add;  // to git; relative to the directory
  bool has_flakes = true;           // turned on in Nix
  bool has_home_manager = true;
  bool may_substitute = true;  // the daemon takes the user's substituters
  std::string cache_url;
  std::string public_key;
};

NextSteps next_steps(std::filesystem::path directory, bool is_elsewhere,
                     const SwitchConditions& conditions);

// As lines for a shell.
std::string render(const NextSteps& steps);

// Runs the commands one after the other, what they print going to standard error. Throws Error when
// one fails.
void run_steps(const NextSteps& steps);

}  // namespace nixbuild::cli
