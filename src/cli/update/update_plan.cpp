#include "cli/update/update_plan.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "cli/update/generations.hpp"
#include "cli/update/old_generations.hpp"
#include "cli/update/runner.hpp"
#include "common/base/error.hpp"
#include "common/config/load.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;

UpdatePlan::UpdatePlan(const config::UpdateOptions& options, const Identity& identity,
                       std::vector<Configuration> found)
    : options_(options), identity_(identity), configurations_(std::move(found)) {}

std::vector<std::string> UpdatePlan::missing_programs() const {
  std::vector<std::string> missing;
  const auto need = [&missing](const std::string& name, const std::string& advice) {
    try {
      need_program(name, advice);
    } catch (const Error& error) {
      missing.emplace_back(error.what());
    }
  };
  for (const Configuration& one : configurations_) {
    if (one.kind == ConfigurationKind::nixos) {
      need("nixos-rebuild", "it is what rebuilds a NixOS");
      if (!identity_.is_root) need("sudo", "run this command as root");
    } else {
      need("home-manager",
           fmt::format("install it, or run once: nix run home-manager -- switch --flake {}#{}",
                       one.flake.string(), one.name));
    }
  }
  return missing;
}

void UpdatePlan::check_flakes_are_writable() const {
  for (const fs::path& flake : flakes()) {
    if (::access(flake.c_str(), W_OK) == 0) continue;
    const int reason = errno;
    const std::string owner = owner_of(flake);
    throw Error(fmt::format(
        "cannot write {}: {}; {}", (flake / "flake.lock").string(),
        std::generic_category().message(reason),
        owner == identity_.user
            ? std::string("--no-update rebuilds without writing it")
            : fmt::format("{} belongs to {}: run system-update as that user, or with --no-update",
                          flake.string(), owner)));
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
  const fs::path shared =
      fs::path(config::process_environment("NIX_STATE_DIR").value_or("/nix/var/nix")) / "profiles";
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const std::set<fs::path> in_use = systems_in_use();
  std::vector<std::vector<std::string>> result;
  const auto add = [&](const fs::path& profile, bool is_root_owned) {
    const std::vector<std::int64_t> old =
        old_generations(generations_of(profile), now, options_.keep,
                        static_cast<std::size_t>(options_.keep_generations), in_use);
    if (old.empty()) return;
    std::vector<std::string> words = {"nix-env", "--profile", profile.string(),
                                      "--delete-generations"};
    for (const std::int64_t number : old)
      words.push_back(fmt::format("{}", number));
    result.push_back(is_root_owned ? as_root(std::move(words)) : std::move(words));
  };
  if (has(ConfigurationKind::nixos)) add(shared / "system", true);
  // Where a user's profiles were before Nix 2.14.
  for (const fs::path& profile : profiles_in(shared / "per-user" / identity_.user))
    add(profile, false);
  for (const fs::path& profile : profiles_in_home())
    add(profile, false);
  result.push_back({"nix-collect-garbage"});
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
