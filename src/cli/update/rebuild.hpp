// Switching to what the flakes now say, as a transaction: the new flake.lock files are put in place
// for nixos-rebuild and home-manager, and the old ones come back if nothing was switched.
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

struct FlakeUpdate {
  std::filesystem::path flake;
  UpdatedLock lock;
};

// Takes hold of the flakes, and undoes what a run that was killed has left of them. Throws Error if
// another system-update holds one.
std::vector<LockFile> take_flakes(const UpdatePlan& plan);

// Returns what went wrong although the new configuration is in force, such as a unit that failed to
// start: the locks stay then, as they belong to it. Throws Error if a rebuild fails, Interrupted,
// SystemError; the locks are then what they were, unless one of two configurations had been
// switched already. `on_switch` is called once the first is.
std::vector<std::string> rebuild(const Runner& runner, const UpdatePlan& plan,
                                 const Identity& identity, std::vector<LockFile>& locks,
                                 const std::vector<FlakeUpdate>& updates,
                                 const std::function<void()>& on_switch);

}  // namespace nixbuild::cli
