// This machine's copy of the aliases that Atuin syncs, from which a shell loads them when it
// starts: reading a file costs a starting shell nothing, starting Atuin would.
//
// aliases.json in the user's state directory, of mode 0600. Each shell that loads it has it
// refreshed in the background, for the next one.
#pragma once

#include "cli/aliases/alias_list.hpp"

namespace nixbuild::cli {

// Empty if there is none, or if others could have written it.
AliasList read_local_copy();
// Throws Error or SystemError.
void write_local_copy(const AliasList& aliases);

// Makes the copy what Atuin has. About once a minute Atuin syncs before, if it is configured to
// sync by itself. Does nothing if Atuin is missing or has no key, or if another process is at it;
// throws Error if Atuin fails. The old copy stays then.
void refresh_local_copy();

}  // namespace nixbuild::cli
