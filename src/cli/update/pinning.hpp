// A flake.lock made to agree with builds of the server, so that what they have built is what this
// flake needs.
//
// Nothing in flake.nix changes, and no input's "original": only what inputs are locked to. Tried
// with Nix 2.8 and 2.26: `nix flake lock` leaves such a lock as it is, while one made by
// --override-input has the override as the original, and is undone by the next command.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cli/update/server_builds.hpp"
#include "common/nix/flake_lock.hpp"

namespace nixbuild::cli {

// The attributes of `commit` of an input, as Nix's fetchTree takes them. `branch` is where it is to
// be found where the input itself does not say.
nlohmann::json source_of(const nlohmann::json& node, const std::string& commit,
                         const std::optional<std::string>& branch);

// What fetchTree says of a source beside its attributes, from JSON. Throws FormatError.
struct SourceInfo {
  std::string nar_hash;
  std::int64_t last_modified = 0;
  std::optional<std::int64_t> revision_count;
};
SourceInfo parse_source_info(const std::string& json);

// The "locked" of an input's node.
nlohmann::json locked_source(const nlohmann::json& node, nlohmann::json source,
                             const SourceInfo& info);

// What is wrong with the lock that a build was made with, in one line: a node, however deep, that
// is locked to another place than its origin, or to a tree that this machine knows under another
// hash. The names of registries and some tarballs lead elsewhere by design: where `mine` has them
// lead.
std::optional<std::string> lock_problem(const nix::FlakeLock& theirs, const nix::FlakeLock& mine);

// What this machine locks an input of its own to in order to have the same as the build, which
// locked it to `theirs`; nothing leaves the input as it is. The hash in `theirs` is only a claim: a
// repository chose it if it was built with the lock that it committed.
using LockShared = std::function<std::optional<nlohmann::json>(
    const std::string& name, const nlohmann::json& mine, const nlohmann::json& theirs)>;

// Locks the input to a build: its commit, its own inputs, and each further input of this flake that
// has name and origin in common with one of the build's. `settled` has the inputs that are locked
// to a build already, and gets those that now are. Returns notes on inputs that differ.
std::vector<std::string> follow_build(nix::FlakeLock& lock, const BuiltInput& input,
                                      nlohmann::json locked, const ServerBuild& build,
                                      const LockShared& lock_shared,
                                      std::set<std::string>& settled);

// One input, or input of an input, that two locks hold at different versions.
struct InputChange {
  std::string name;    // "tools", "tools/nixpkgs"
  std::string before;  // a short revision or a date; empty: not there
  std::string after;
};
std::vector<InputChange> input_changes(const nix::FlakeLock* before, const nix::FlakeLock& after);

}  // namespace nixbuild::cli
