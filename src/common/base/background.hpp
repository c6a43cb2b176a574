// Work that outlives a short command.
#pragma once

#include <functional>

namespace nixbuild {

// Runs `work` in a new process and returns at once. The process gets its own session, changes to
// the root directory, reads and writes /dev/null and has no other descriptors of this one, so
// nobody waits for it. Exceptions from `work` are ignored. It is killed after `seconds`. Only for
// processes with one thread. Does nothing if the system cannot create another process.
void run_in_background(const std::function<void()>& work, unsigned seconds);

}  // namespace nixbuild
