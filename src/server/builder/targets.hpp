// What a repository offers to build, each target evaluated to its derivation.
//
// A target that does not evaluate stops no other. All are evaluated by one process first; if that
// fails, smaller and smaller parts are, down to single targets, several processes at a time.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/protocol/types.hpp"
#include "server/builder/attribute_path.hpp"
#include "server/builder/local_store.hpp"
#include "server/builder/report.hpp"
#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

struct TargetSource {
  std::string reference;  // of the flake, locked; empty: the clone's default.nix
  std::string label;      // appended to the names, to tell two locks apart
  std::vector<std::string> systems;
  std::vector<AttributePath> wanted;  // empty: all
  std::optional<std::string> home_config;
  std::string home_manager;  // a flake reference, as configured; empty: none
  Toolbox::Options options;  // of Nix
};

// All targets: "pending" with derivation and outputs, or "evaluation failed" with the reason. Their
// derivations are rooted from the moment they are evaluated, by links ROOT-1, ROOT-2, ….
// Throws Error if the repository does not evaluate at all.
std::vector<protocol::Target> evaluate_targets(Toolbox& tools, Report& report,
                                               const LocalStore& store, const TargetSource& source,
                                               const std::filesystem::path& root);

}  // namespace nixbuild::builder
