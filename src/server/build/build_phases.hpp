// The phases of one build, from the taken lock to its end in the history.
#pragma once

#include <cstdint>

#include "common/base/exit_code.hpp"
#include "server/build/history.hpp"
#include "server/build/interruption.hpp"
#include "server/build/run_build.hpp"
#include "server/build/state_layout.hpp"

namespace nixbuild::build {

// Runs the build `id`, which the history has as queued, and which nobody else runs. Ends with
// `done` or `failed`; the reason is in the history, and shown to `observer`.
ExitCode go_through_phases(const RunOptions& options, const StateLayout& layout, History& history,
                           Interruption& interruption, const Observer& observer, std::int64_t id);

}  // namespace nixbuild::build
