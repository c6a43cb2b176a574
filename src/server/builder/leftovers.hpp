// The processes of a build, found and ended where no pid namespace does it (see isolation.hpp).
//
// While a build runs they are the descendants of run-build, which takes in their orphans (child
// subreaper): Nix gives each builder a session of its own, so process groups do not find them.
// Those of a build that was killed are found later by two marks: the environment of what run-build
// started names the build's repository, and a file lists the descendants that were seen, since Nix
// empties its builders' environment.
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

// A process, also after its number has been given to another one.
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start_time = 0;  // clock ticks since boot

  friend auto operator<=>(const ProcessId&, const ProcessId&) = default;
};

// This process becomes the parent of its descendants' orphans.
void become_subreaper();

// All descendants of `ancestor`, without itself.
std::vector<ProcessId> descendants_of(pid_t ancestor);

// Asks the descendants of this process but `spared` to end, kills those that are there after
// `patience`, and returns when all are gone. Children are reaped.
void end_descendants(std::chrono::milliseconds patience, const std::vector<pid_t>& spared = {});

// NAME=VALUE of the environment variable that marks what is started for a repository's build.
std::pair<std::string, std::string> environment_mark(const history::StateLayout& layout,
                                                     const std::string& repository);

// Writes down the descendants of this process. Throws SystemError.
void record_descendants(const history::StateLayout& layout, const std::string& repository);

// Kills what an earlier build of the repository left behind, and what that started; returns how
// many processes these were. Only for the holder of the repository's lock.
int kill_leftovers(const history::StateLayout& layout, const std::string& repository);

}  // namespace nixbuild::builder
