// Where the server commands keep their state: one rule for all of them.
#pragma once

#include <filesystem>

#include "common/config/load.hpp"

namespace nixbuild::config {

// `configured` (flag, NIXBUILD_STATE_DIR or configuration file) where it is not empty, else the
// first of systemd's $STATE_DIRECTORY, else $XDG_STATE_HOME/nixbuild, else
// ~/.local/state/nixbuild. Throws UsageError when none of these says anything, or the path is not
// absolute.
std::filesystem::path resolve_state_dir(const std::filesystem::path& configured,
                                        const Environment& environment);

}  // namespace nixbuild::config
