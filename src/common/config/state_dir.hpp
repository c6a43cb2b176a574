// Where state is kept: one rule for all server commands, one for a user's own state.
#pragma once

#include <filesystem>

#include "common/config/load.hpp"

namespace nixbuild::config {

// The state directory of an installed server, as in its units and tmpfiles.d.
constexpr const char* installed_state_dir = "/var/lib/nixbuild";

// The state directory of a server: `configured` (flag, NIXBUILD_STATE_DIR or configuration file) if
// not empty, else the first of systemd's $STATE_DIRECTORY, else `installed` if it exists, so that
// commands run by hand on an installed server use that server's state, else the user's. Throws
// UsageError if none of these is available, or the path is not absolute.
std::filesystem::path resolve_state_dir(
    const std::filesystem::path& configured, const Environment& environment,
    const std::filesystem::path& installed = installed_state_dir);

// A user's own: $XDG_STATE_HOME/nixbuild, else ~/.local/state/nixbuild. Throws as above.
std::filesystem::path user_state_dir(const Environment& environment);

// Where serve-proxy keeps what it need not lose: `configured` if not empty, else the first of
// systemd's $CACHE_DIRECTORY, else nixbuild-proxy in $XDG_CACHE_HOME or ~/.cache. Throws as above.
std::filesystem::path resolve_cache_dir(const std::filesystem::path& configured,
                                        const Environment& environment);

}  // namespace nixbuild::config
