// Switches to the new state of the flakes as a transaction: puts the new flake.lock files in place
// for nixos-rebuild and home-manager, and restores the old ones if nothing was switched.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cli/update/configurations.hpp"
#include "cli/update/lock_file.hpp"
#include "cli/update/lock_update.hpp"
#include "cli/update/runner.hpp"
#include "cli/update/update_plan.hpp"

namespace nixbuild::cli {

// The exit code of switch-to-configuration and nixos-rebuild if the new system is in force but a
// unit failed.
constexpr int code_of_failed_units = 4;

struct FlakeUpdate {
  std::filesystem::path flake;
  UpdatedLock lock;
};

// Locks the flakes, and undoes what a killed run left behind. Throws Error if another system-update
// has locked one.
std::vector<LockFile> take_flakes(const UpdatePlan& plan);

// Returns a problem that occurred although the new configuration is in force, such as a unit that
// failed to start; the new locks then stay, as they belong to it. Throws Error if a rebuild fails,
// Interrupted, SystemError; the old locks are then restored, unless one of two configurations was
// already switched. `on_switch` is called after the first switch.
std::vector<std::string> rebuild(const Runner& runner, const UpdatePlan& plan,
                                 const Identity& identity, std::vector<LockFile>& locks,
                                 const std::vector<FlakeUpdate>& updates,
                                 const std::function<void()>& on_switch);

}  // namespace nixbuild::cli
