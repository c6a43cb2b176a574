// Where state is kept: one rule for all server commands, one for what belongs to a user.
#pragma once

#include <filesystem>

#include "common/config/load.hpp"

namespace nixbuild::config {

// The state directory of an installed server, as its units and tmpfiles.d have it.
constexpr const char* installed_state_dir = "/var/lib/nixbuild";

// A server's: `configured` (flag, NIXBUILD_STATE_DIR or configuration file) where it is not empty,
// else the first of systemd's $STATE_DIRECTORY, else `installed` where that exists, so that what is
// run by hand on an installed server works on that server's state, else the user's. Throws
// UsageError when none of these says anything, or the path is not absolute.
std::filesystem::path resolve_state_dir(
    const std::filesystem::path& configured, const Environment& environment,
    const std::filesystem::path& installed = installed_state_dir);

// A user's own: $XDG_STATE_HOME/nixbuild, else ~/.local/state/nixbuild. Throws as above.
std::filesystem::path user_state_dir(const Environment& environment);

}  // namespace nixbuild::config
