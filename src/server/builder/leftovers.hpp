// Finds and ends the processes of a build, if no pid namespace does (see isolation.hpp).
//
// While a build runs, they are the descendants of run-build, which adopts their orphans (child
// subreaper). Process groups would not find them, because Nix starts each builder in a new session.
// The processes of a killed build are found later by two marks: the environment of all that
// run-build started names the build's repository, and a file lists the descendants seen so far,
// because Nix clears its builders' environment.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace nixbuild::history {
class StateLayout;
}

namespace nixbuild::builder {

// Identifies a process even after its number was reused.
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start_time = 0;  // clock ticks since boot

  friend auto operator<=>(const ProcessId&, const ProcessId&) = default;
};

// Makes this process the parent of its descendants' orphans.
void become_subreaper();

// All descendants of `ancestor`, excluding itself.
std::vector<ProcessId> descendants_of(pid_t ancestor);

// Asks the descendants of this process except `spared` to end, kills the remaining ones after
// `patience`, and returns when all have ended. Reaps children.
void end_descendants(std::chrono::milliseconds patience, const std::vector<pid_t>& spared = {});

// NAME and VALUE of the environment variable that marks the processes of a repository's build.
std::pair<std::string, std::string> environment_mark(const history::StateLayout& layout,
                                                     const std::string& repository);

// Records the descendants of this process in a file. Throws SystemError.
void record_descendants(const history::StateLayout& layout, const std::string& repository);

// Kills the remaining processes of an earlier build of the repository and their descendants;
// returns how many there were. The caller must hold the repository's lock.
int kill_leftovers(const history::StateLayout& layout, const std::string& repository);

}  // namespace nixbuild::builder
