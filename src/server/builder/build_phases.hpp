// The phases of one build, from taking the lock to its end in the history.
#pragma once

#include <cstdint>

#include "common/base/exit_code.hpp"
#include "server/builder/interruption.hpp"
#include "server/builder/run_build.hpp"
#include "server/history/history.hpp"
#include "server/history/state_layout.hpp"

namespace nixbuild::builder {

// Runs the build `id`, which must be queued in the history and not run by any other process. Ends
// with `done` or `failed`; the reason is in the history and shown to `observer`.
ExitCode go_through_phases(const RunOptions& options, const history::StateLayout& layout,
                           history::History& history, Interruption& interruption,
                           const Observer& observer, std::int64_t id);

}  // namespace nixbuild::builder
