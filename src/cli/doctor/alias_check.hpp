// Checks that the aliases synced by Atuin reach this machine's shells.
#pragma once

#include <optional>

#include "cli/machine/check.hpp"

namespace nixbuild::cli {

// Starts Atuin a few times, but never syncs. Nothing if Atuin is not installed.
std::optional<Check> check_aliases();

}  // namespace nixbuild::cli
