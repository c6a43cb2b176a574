// The inputs of a flake: its flake.lock, brought up to date.
#pragma once

#include <optional>
#include <string>

#include "server/builder/report.hpp"
#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

// The text of flake.lock in the clone; nothing if it does not exist. Throws Error if it is no
// regular file, a symbolic link among others.
std::optional<std::string> read_lock(const Toolbox& tools);

// Updates every input. Where that fails, because one of them is not to be had, each is updated by
// itself, and those that cannot be stay as they are locked, with a warning. Throws Error when the
// inputs cannot be locked at all.
void update_inputs(Toolbox& tools, Report& report);

}  // namespace nixbuild::builder
