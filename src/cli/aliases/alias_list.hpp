// The aliases that the program offers: short names for its daily commands.
#pragma once

#include <map>
#include <string>

#include "common/config/configuration.hpp"

namespace nixbuild::cli {

// Commands by the names of their aliases.
using AliasList = std::map<std::string, std::string>;

// The built-in aliases with the user's wishes applied. Throws UsageError for a name that not every
// shell takes, a command that is empty or holds control characters, a name to leave out that is
// none of the built-in ones'; it names the setting and where that comes from.
AliasList wanted_aliases(const config::Configuration& configuration);

}  // namespace nixbuild::cli
