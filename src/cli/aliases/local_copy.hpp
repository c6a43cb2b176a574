// This machine's copy of the aliases that Atuin syncs. A starting shell loads them from it, as
// reading a file is much faster than starting Atuin.
//
// The file is aliases.json in the user's state directory, with mode 0600. Each shell that loads it
// has it refreshed in the background, for the next shell.
#pragma once

#include "cli/aliases/alias_list.hpp"

namespace nixbuild::cli {

// Empty if there is no copy, or if other users could have written it.
AliasList read_local_copy();
// Throws Error or SystemError.
void write_local_copy(const AliasList& aliases);

// Updates the copy from Atuin. About once a minute, Atuin syncs first, if it is configured to sync
// by itself. Does nothing if Atuin is missing or has no key, or if another process is refreshing;
// throws Error if Atuin fails. The old copy then stays.
void refresh_local_copy();

}  // namespace nixbuild::cli
