// The history as text for people.
#pragma once

#include <cstddef>
#include <string>

#include "cli/times.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::cli {

// One line a build, newest first. `most_columns` as Table::render has it.
std::string builds_table(const protocol::BuildList& list, const TimeStyle& style,
                         std::size_t most_columns);

// All that is known of one build: phases, targets with what failed and why, what took longest.
std::string build_report(const protocol::Build& build, const TimeStyle& style);

}  // namespace nixbuild::cli
