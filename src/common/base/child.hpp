// What happens in a child process between fork(2) and its program. Only for Subprocess.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace nixbuild {

// All that the child needs, prepared before fork: after it, only async-signal-safe functions may be
// called.
struct Launch {
  const char* program;
  char* const* arguments;
  char* const* environment;
  const char* directory;
  int input;
  int output;
  int error;
  int report;  // receives the reason if the program cannot be started
  bool new_session;
  bool ends_with_parent;
  std::uint64_t memory_limit;
  const int* namespaces;
  std::size_t namespace_count;
  pid_t parent;
};

// Executes the program, or writes to `report` why it cannot.
[[noreturn]] void run_child(const Launch& launch);

}  // namespace nixbuild
