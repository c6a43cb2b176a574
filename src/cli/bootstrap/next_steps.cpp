#include "cli/bootstrap/next_steps.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/machine/local_proxy.hpp"
#include "cli/output.hpp"
#include "common/base/error.hpp"
#include "common/base/shell.hpp"
#include "common/base/subprocess.hpp"
#include "common/config/proxy_options.hpp"

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
    // The flake only contains files that git knows.
    std::vector<std::string> add = {"git", "add", "--intent-to-add", "--"};
    add.insert(add.end(), conditions.to_add.begin(), conditions.to_add.end());
    steps.commands.push_back(std::move(add));
  }
  std::vector<std::string> home_manager = {"home-manager"};
  if (!conditions.has_home_manager) {
    home_manager = {"nix", "run", "github:nix-community/home-manager", "--"};
  }
  home_manager.insert(home_manager.end(), {"switch", "--flake", ".#" + conditions.configuration});
  if (!conditions.backup_extension.empty()) {
    home_manager.insert(home_manager.end(), {"-b", conditions.backup_extension});
  }
  if (conditions.in_git) home_manager.emplace_back("--impure");
  if (conditions.may_substitute) {
    // nix.conf names the server only after this first switch.
    home_manager.insert(home_manager.end(),
                        {"--option", "extra-substituters", conditions.cache_url, "--option",
                         "extra-trusted-public-keys", conditions.public_key});
  }
  steps.commands.push_back(std::move(home_manager));
  return steps;
}

std::optional<std::string> lines_for_daemon(const HomePlan& plan, const std::string& cache_url,
                                            const LocalNix& nix) {
  if (nix.is_trusted) return std::nullopt;
  const auto names = [](const std::vector<std::string>& urls, const std::string& wanted) {
    return std::any_of(urls.begin(), urls.end(),
                       [&](const std::string& url) { return same_cache(url, wanted); });
  };
  if (!plan.has_proxy()) {
    if (names(nix.substituters(), cache_url)) return std::nullopt;
    return fmt::format("    extra-substituters = {}\n    extra-trusted-public-keys = {}", cache_url,
                       plan.public_key);
  }
  // The user's nix.conf will name the proxy, so the daemon only has to allow it. Other users may
  // have none.
  const std::string proxy = proxy_address(config::ProxyOptions());
  if (names(list_of(nix.system_settings, "trusted-substituters"), proxy)) return std::nullopt;
  return fmt::format("    extra-trusted-substituters = {}\n    extra-trusted-public-keys = {}",
                     proxy, plan.public_key);
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
      throw Error(fmt::format("`{}` in {} failed: {}; see its output above", shell_command(words),
                              steps.directory.string(), exit.reason()));
    }
  }
}

std::vector<std::filesystem::path> files_in_the_way(
    const std::filesystem::path& home, const std::vector<std::filesystem::path>& managed) {
  namespace fs = std::filesystem;
  std::vector<fs::path> found;
  for (const fs::path& file : managed) {
    std::error_code error;
    const fs::path path = home / file;
    const fs::file_status status = fs::symlink_status(path, error);
    if (!fs::exists(status)) continue;
    const bool is_home_managers =
        fs::is_symlink(status) &&
        fs::read_symlink(path, error).string().find("-home-manager-files/") != std::string::npos;
    if (!is_home_managers) found.push_back(file);
  }
  return found;
}

std::string backup_extension(const std::filesystem::path& home,
                             const std::vector<std::filesystem::path>& files) {
  const auto is_taken = [&](const std::string& extension) {
    return std::any_of(files.begin(), files.end(), [&](const std::filesystem::path& file) {
      std::error_code error;
      const std::filesystem::path backup = (home / file).string() + '.' + extension;
      return std::filesystem::exists(std::filesystem::symlink_status(backup, error));
    });
  };
  std::string extension = "backup";
  for (unsigned number = 2; is_taken(extension); ++number)
    extension = fmt::format("backup-{}", number);
  return extension;
}

}  // namespace nixbuild::cli
