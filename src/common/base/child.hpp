// What happens in a child process between fork(2) and its program. Only for Subprocess.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace nixbuild {

// All that the child needs, made before fork: behind it, only functions that are safe in signal
// handlers may be called.
struct Launch {
  const char* program;
  char* const* arguments;
  char* const* environment;
  const char* directory;
  int input;
  int output;
  int error;
  int report;  // where the reason is told when the program cannot be started
  bool new_session;
  bool ends_with_parent;
  std::uint64_t memory_limit;
  const int* namespaces;
  std::size_t namespace_count;
  pid_t parent;
};

// Becomes the program, or tells `report` why not.
[[noreturn]] void run_child(const Launch& launch);

}  // namespace nixbuild
