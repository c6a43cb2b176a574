// Switches this machine to what the server has built for it, without evaluating anything: the
// signed record of a build names the store path, and Nix fetches it from the cache.
#pragma once

#include <string>

#include "cli/update/configurations.hpp"
#include "cli/update/runner.hpp"
#include "common/config/configuration.hpp"

namespace nixbuild::cli {

// What this machine follows. Records of any other repository, branch or target are refused, as
// whoever can push to one of them must not choose what runs here.
struct PinnedTarget {
  std::string repository;
  std::string branch;  // empty: the remote's HEAD
  std::string target;
  ConfigurationKind kind = ConfigurationKind::home;
};
// From [update] repository, branch and target. Throws UsageError that proposes values if they are
// not set or are of no configuration.
PinnedTarget pinned_target(const config::UpdateOptions& options, const Identity& identity);

struct BuiltUpdateOptions {
  bool allow_older = false;
  bool boot = false;     // switch at the next boot
  bool yes = false;      // do not ask
  bool dry_run = false;  // stop before switching
};

// Switches to the newest build in which the target succeeded. Returns false if the machine stays as
// it is: it runs that build already, the person declined, or it is a dry run. A run that was killed
// while it switched is repeated by the next one.
//
// Throws RefusedError if the build must not be followed, UnreachableError, Interrupted, and Error
// if the path cannot be fetched, its signature is not trusted, or switching fails.
bool update_to_build(const Runner& runner, const config::ClientOptions& client,
                     const PinnedTarget& pin, const Identity& identity,
                     const BuiltUpdateOptions& options);

}  // namespace nixbuild::cli
