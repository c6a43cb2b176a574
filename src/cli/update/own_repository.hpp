// Finds the repository that a flake is a clone of among those that the server builds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/update/runner.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::cli {

struct OwnRepository {
  std::string repository;  // the server's name for it
  std::string place;       // where this clone comes from; no server can change it
};

// Compares the URLs of the clone's remotes, "origin" first. Nothing if the flake is not in a clone,
// or the server builds none of its remotes.
std::optional<OwnRepository> own_repository(const Runner& runner,
                                            const std::filesystem::path& flake,
                                            const std::vector<protocol::Repository>& repositories);

// What the clone's commit is to a build's commit.
enum class CloneState : std::uint8_t { same, ahead, behind, diverged, unknown };
struct CloneComparison {
  CloneState state = CloneState::unknown;  // unknown: the clone does not have the build's commit
  bool is_changed = false;                 // flake.nix is not what is committed
};
CloneComparison compare_clone(const Runner& runner, const std::filesystem::path& flake,
                              const std::string& commit);

}  // namespace nixbuild::cli
