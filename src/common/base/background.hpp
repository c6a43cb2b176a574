// Work that outlives a short command.
#pragma once

#include <functional>

namespace nixbuild {

// Does `work` in a new process and returns at once. The process has a session of its own, stands in
// the root directory, reads and writes /dev/null, and has no other descriptor of this one, so that
// nobody waits for it; what `work` throws is dropped. It is killed after `seconds`. For a process
// with one thread. Nothing happens if the system has no room for another process.
void run_in_background(const std::function<void()>& work, unsigned seconds);

}  // namespace nixbuild
