// Updates a flake's inputs in its flake.lock.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "server/builder/report.hpp"
#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

// The text of flake.lock in the clone; nothing if it does not exist. Throws Error if it is not a
// regular file, for instance a symbolic link.
std::optional<std::string> read_lock(const Toolbox& tools);

// Updates every input. If that fails because one is unavailable, updates each separately; those
// that fail stay locked as they are, with a warning. Throws Error if the inputs cannot be locked at
// all.
void update_inputs(Toolbox& tools, Report& report);

// Throws Error if the flake has a local file outside of `allowed` as an input. The first function
// checks the inputs in flake.nix before anything is fetched; the second one checks all nodes of a
// lock, including inputs of inputs. Isolation hides such files anyway; these functions report the
// reason.
void check_named_inputs(Toolbox& tools, const std::vector<std::filesystem::path>& allowed);
void check_locked_inputs(const std::string& lock,
                         const std::vector<std::filesystem::path>& allowed);

// Fetches all inputs of a locked flake into the store, including inputs of inputs, so that it can
// be evaluated without the repository's credentials. Throws Error.
void fetch_inputs(Toolbox& tools, const std::string& reference);

}  // namespace nixbuild::builder
