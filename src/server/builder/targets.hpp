// What a repository offers to build, each target evaluated to its derivation.
//
// A target that cannot be evaluated keeps no other from being built: most are evaluated together,
// by one process, and those for which that fails alone, several at a time.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "common/protocol/types.hpp"
#include "server/builder/nix_expression.hpp"
#include "server/builder/report.hpp"
#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

struct TargetSource {
  std::string reference;  // of the flake, locked; empty: the clone's default.nix
  std::string label;      // put behind the names, to tell two locks apart
  std::vector<std::string> systems;
  std::vector<AttributePath> wanted;  // empty: all
  std::optional<std::string> home_config;
  std::string home_manager;  // a flake reference, as configured; empty: none
  Toolbox::Options options;  // of Nix
};

// All targets: "pending" with derivation and outputs, or "evaluation failed" with the reason.
// Throws Error when not even their names can be found out.
std::vector<protocol::Target> evaluate_targets(Toolbox& tools, Report& report,
                                               const TargetSource& source);

}  // namespace nixbuild::builder
