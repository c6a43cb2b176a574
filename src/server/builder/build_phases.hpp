// The phases of one build, from taking the lock to its end in the history.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/exit_code.hpp"
#include "server/builder/interruption.hpp"
#include "server/builder/run_build.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::builder {

// A build of this process that succeeded, and what it evaluated: flakes at commits, which contain
// their locks.
struct LastBuild {
  std::int64_t id = 0;
  std::vector<std::string> sources;
};

// Runs the build `id`, which must be queued in the history and not run by any other process. Ends
// with `done` or `failed`; the reason is in the history and shown to `observer`.
//
// If `last` evaluated the same, its targets are built again, which only roots them, and nothing is
// evaluated. Replaces `last` by this build, or by nothing if it fails.
ExitCode go_through_phases(const RunOptions& options, const history::StateLayout& layout,
                           history::History& history, Interruption& interruption,
                           const Observer& observer, std::int64_t id,
                           std::optional<LastBuild>& last);

}  // namespace nixbuild::builder
