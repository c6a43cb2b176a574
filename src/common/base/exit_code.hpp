// The exit codes of every nixbuild command, the same everywhere so that scripts can rely on them.
#pragma once

namespace nixbuild {

enum class ExitCode : int {
  done = 0,
  failed = 1,       // the request failed: a build, a check, a local file
  usage = 2,        // the command line or the configuration is wrong
  unreachable = 3,  // the server cannot be reached
  refused = 4,      // the server refused, erred, or its key changed
  lock_held = 75,   // run-build: another build of the repository holds the lock
};

}  // namespace nixbuild
