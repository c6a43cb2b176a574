#include "cli/bootstrap/next_steps.hpp"

#include <fmt/format.h>

#include "cli/output.hpp"
#include "common/base/error.hpp"
#include "common/base/shell.hpp"
#include "common/base/subprocess.hpp"

namespace nixbuild::cli {

NextSteps next_steps(std::filesystem::path directory, bool is_elsewhere,
                     const SwitchConditions& conditions) {
  NextSteps steps;
  steps.directory = std::move(directory);
  steps.is_elsewhere = is_elsewhere;
  if (!conditions.has_flakes) {
    steps.environment.emplace_back("NIX_CONFIG",
                                   "extra-experimental-features = nix-command flakes");
  }
  if (conditions.in_git) {
    // What git does not know is no part of the flake.
    std::vector<std::string> add = {"git", "add", "--intent-to-add", "--"};
    add.insert(add.end(), conditions.to_add.begin(), conditions.to_add.end());
    steps.commands.push_back(std::move(add));
  }
  std::vector<std::string> home_manager = {"home-manager"};
  if (!conditions.has_home_manager) {
    home_manager = {"nix", "run", "github:nix-community/home-manager", "--"};
  }
  home_manager.insert(home_manager.end(), {"switch", "--flake", ".#default"});
  if (conditions.in_git) home_manager.emplace_back("--impure");
  if (conditions.may_substitute) {
    // nix.conf names the server only once this first configuration is in force.
    home_manager.insert(home_manager.end(),
                        {"--option", "extra-substituters", conditions.cache_url, "--option",
                         "extra-trusted-public-keys", conditions.public_key});
  }
  steps.commands.push_back(std::move(home_manager));
  return steps;
}

std::string render(const NextSteps& steps) {
  std::string text;
  if (steps.is_elsewhere) text += shell_command({"cd", steps.directory.string()}) + '\n';
  for (const auto& [name, value] : steps.environment)
    text += fmt::format("export {}={}\n", name, shell_word(value));
  for (const std::vector<std::string>& command : steps.commands)
    text += shell_command(command) + '\n';
  return text;
}

void run_steps(const NextSteps& steps) {
  for (const std::vector<std::string>& words : steps.commands) {
    say(fmt::format("==> {}", shell_command(words)));
    Command command;
    command.arguments = words;
    command.directory = steps.directory;
    for (const auto& [name, value] : steps.environment)
      command.environment.emplace_back(name, value);
    command.on_output_line = [](std::string_view line) { say_raw(std::string(line) + '\n'); };
    command.on_error_line = command.on_output_line;
    command.ends_with_parent = true;
    const Exit exit = run(std::move(command));
    if (!exit.ok()) {
      throw Error(fmt::format("`{}` in {}: {}; what it said stands above", shell_command(words),
                              steps.directory.string(), exit.reason()));
    }
  }
}

}  // namespace nixbuild::cli
