// The inputs of a flake: its flake.lock, brought up to date.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

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

// Throws Error if the flake has an input that is a file of this machine outside of `allowed`: the
// first function looks at what flake.nix names, before anything is fetched; the second one at all
// nodes of a lock, inputs of inputs among them. Programs do not see such files either; here is who
// says so.
void check_named_inputs(Toolbox& tools, const std::vector<std::filesystem::path>& allowed);
void check_locked_inputs(const std::string& lock,
                         const std::vector<std::filesystem::path>& allowed);

// Fetches the inputs of a locked flake into the store, those of its inputs too, so that it can be
// evaluated without the repository's credentials. Throws Error.
void fetch_inputs(Toolbox& tools, const std::string& reference);

}  // namespace nixbuild::builder
