// Renders the history for people.
#pragma once

#include <cstddef>
#include <string>

#include "cli/times.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::cli {

// One line for each build, newest first. `most_columns` is as for Table::render.
std::string builds_table(const protocol::BuildList& list, const TimeStyle& style,
                         std::size_t most_columns);

// Everything known about one build: phases, targets with their failures and reasons, the slowest
// derivations.
std::string build_report(const protocol::Build& build, const TimeStyle& style);

}  // namespace nixbuild::cli
