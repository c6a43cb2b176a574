// Makes a flake.lock agree with builds of the server, so that they have built what this flake
// needs.
//
// Neither flake.nix nor any input's "original" changes, only what inputs are locked to. Tested with
// Nix 2.8 and 2.26: `nix flake lock` leaves such a lock unchanged. A lock made by --override-input
// has the override as its original, and the next command reverts it.
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

// Without Nix's internal attributes, such as 2.26's "__final", which are not part of a lock.
nlohmann::json without_private(const nlohmann::json& locked);

// The attributes of `commit` of an input, for Nix's fetchTree. `branch` is the branch to find it on
// if the input names none.
nlohmann::json source_of(const nlohmann::json& node, const std::string& commit,
                         const std::optional<std::string>& branch);

// What fetchTree returns about a source besides its attributes, from JSON. Throws FormatError.
struct SourceInfo {
  std::string nar_hash;
  std::int64_t last_modified = 0;
  std::optional<std::int64_t> revision_count;
};
SourceInfo parse_source_info(const std::string& json);

// The "locked" of an input's node.
nlohmann::json locked_source(const nlohmann::json& node, nlohmann::json source,
                             const SourceInfo& info);

// The problem with the lock that a build was made with, in one line: a node at any depth that is
// locked to another place than its origin, or to a tree that this machine knows under another hash.
// Names of registries and some tarballs lead elsewhere by design; they may lead where they do in
// `mine`.
std::optional<std::string> lock_problem(const nix::FlakeLock& theirs, const nix::FlakeLock& mine);

// What to lock one of this machine's inputs to in order to match the build, which locked it to
// `theirs`; nothing leaves the input as it is. The hash in `theirs` is only a claim: if the build
// used the lock that the repository commits, the repository chose it.
using LockShared = std::function<std::optional<nlohmann::json>(
    const std::string& name, const nlohmann::json& mine, const nlohmann::json& theirs)>;

// Locks the input to a build: its commit, its own inputs, and each other input of this flake that
// shares name and origin with one of the build's. `settled` contains the inputs that are already
// locked to a build, and receives those that now are. Returns notes on inputs that differ.
std::vector<std::string> follow_build(nix::FlakeLock& lock, const BuiltInput& input,
                                      nlohmann::json locked, const ServerBuild& build,
                                      const LockShared& lock_shared,
                                      std::set<std::string>& settled);

// One input, or input of an input, that two locks hold at different versions.
struct InputChange {
  std::string name;    // "tools", "tools/nixpkgs"
  std::string before;  // a short revision or a date; empty: absent
  std::string after;
};
std::vector<InputChange> input_changes(const nix::FlakeLock* before, const nix::FlakeLock& after);

}  // namespace nixbuild::cli
