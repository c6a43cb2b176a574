// The nixConfig of a flake, for repositories that are allowed to set Nix options.
#pragma once

#include <string>
#include <string_view>

#include "server/builder/report.hpp"
#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

// Reads nixConfig of the flake at `commit` of the clone, by an evaluation that can see nothing
// else. Settings that no repository needs for its builds are ignored with a warning: those that
// load code into Nix, such as plugin-files and hooks, and those that control whom Nix trusts.
// Throws Error if it does not evaluate.
Toolbox::Options read_flake_config(Toolbox& tools, Report& report, const std::string& commit);

// Whether a flake may set the option `name`.
bool is_flake_option(std::string_view name);

}  // namespace nixbuild::builder
