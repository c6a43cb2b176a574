#include "cli/update/update_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "cli/update/runner.hpp"

namespace nixbuild::cli {

UpdatePlan::UpdatePlan(const config::UpdateOptions& options, const Identity& identity,
                       std::vector<Configuration> found)
    : options_(options), identity_(identity), configurations_(std::move(found)) {}

void UpdatePlan::check_programs() const {
  need_program("nix", "install Nix first");
  for (const Configuration& one : configurations_) {
    if (one.kind == ConfigurationKind::nixos) {
      need_program("nixos-rebuild", "without it a NixOS cannot be rebuilt");
      if (!identity_.is_root) need_program("sudo", "run this command as root");
    } else {
      need_program("home-manager",
                   fmt::format("install it, or once: nix run home-manager -- switch --flake {}#{}",
                               one.flake.string(), one.name));
    }
  }
}

std::vector<std::string> UpdatePlan::build(const Configuration& configuration,
                                           const std::vector<std::string>& options) const {
  return with_options({"nix", "--extra-experimental-features", "nix-command flakes", "build",
                       "--no-link", configuration.installable()},
                      options);
}

std::vector<std::string> UpdatePlan::rebuild(const Configuration& configuration,
                                             const std::vector<std::string>& options) const {
  std::vector<std::string> words;
  if (configuration.kind == ConfigurationKind::nixos) {
    words = as_root({"nixos-rebuild", "switch"});
  } else {
    words = {"home-manager", "switch"};
  }
  words.insert(words.end(), {"--flake", ".#" + configuration.name});
  return with_options(std::move(words), options);
}

std::vector<std::vector<std::string>> UpdatePlan::collect() const {
  const auto days = std::chrono::duration_cast<std::chrono::days>(options_.keep);
  const std::vector<std::string> words = {"nix-collect-garbage", "--delete-older-than",
                                          fmt::format("{}d", days.count())};
  std::vector<std::vector<std::string>> result;
  if (has(ConfigurationKind::nixos) && !identity_.is_root) result.push_back(as_root(words));
  result.push_back(words);
  return result;
}

std::vector<std::filesystem::path> UpdatePlan::flakes() const {
  std::vector<std::filesystem::path> result;
  for (const Configuration& one : configurations_) {
    if (std::find(result.begin(), result.end(), one.flake) == result.end()) {
      result.push_back(one.flake);
    }
  }
  return result;
}

bool UpdatePlan::has(ConfigurationKind kind) const {
  return std::any_of(configurations_.begin(), configurations_.end(),
                     [&](const Configuration& one) { return one.kind == kind; });
}

std::vector<std::string> UpdatePlan::as_root(std::vector<std::string> words) const {
  if (!identity_.is_root) words.insert(words.begin(), "sudo");
  return words;
}

std::vector<std::string> UpdatePlan::with_options(std::vector<std::string> words,
                                                  const std::vector<std::string>& options) const {
  if (options_.impure) words.emplace_back("--impure");
  words.insert(words.end(), options.begin(), options.end());
  return words;
}

}  // namespace nixbuild::cli
