// That the aliases which Atuin syncs reach this machine's shells.
#pragma once

#include <optional>

#include "cli/machine/check.hpp"

namespace nixbuild::cli {

// Starts Atuin a few times, and no sync. Nothing if there is no Atuin.
std::optional<Check> check_aliases();

}  // namespace nixbuild::cli
