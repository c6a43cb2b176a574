// Finds the targets that a repository offers, and evaluates each to its derivation.
//
// A target that fails to evaluate does not stop the others. One process first evaluates all of
// them; if that fails, several processes at a time evaluate smaller and smaller parts, down to
// single targets.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/nix/attribute_path.hpp"
#include "common/protocol/types.hpp"
#include "server/builder/local_store.hpp"
#include "server/builder/report.hpp"
#include "server/builder/toolbox.hpp"

namespace nixbuild::builder {

struct TargetSource {
  std::string reference;  // of the flake, locked; if empty, the clone's default.nix
  std::string label;      // appended to the names, to distinguish two locks
  std::vector<std::string> systems;
  std::vector<nix::AttributePath> wanted;  // empty for all
  std::optional<std::string> home_config;
  std::string home_manager;  // a flake reference, as configured; empty for none
  Toolbox::Options options;  // for Nix
};

// All targets: "pending" with derivation and outputs, or "evaluation failed" with the reason. Their
// derivations are rooted as soon as they are evaluated, by links ROOT-1, ROOT-2, …. Throws Error if
// the repository does not evaluate at all.
std::vector<protocol::Target> evaluate_targets(Toolbox& tools, Report& report,
                                               const LocalStore& store, const TargetSource& source,
                                               const std::filesystem::path& root);

}  // namespace nixbuild::builder
