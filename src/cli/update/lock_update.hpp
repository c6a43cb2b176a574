// Updates a flake's inputs, to the builds of the server or from upstream.
//
// Works in a temporary copy of flake.nix, flake.lock and the inputs beside them, so that failures
// and interruptions leave the flake untouched.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/api_client.hpp"
#include "cli/machine/build_record.hpp"
#include "cli/update/followed_builds.hpp"
#include "cli/update/own_repository.hpp"
#include "cli/update/pinning.hpp"
#include "cli/update/runner.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::cli {

// A reachable server, and what decides whether its builds are followed.
struct AnsweringServer {
  ApiClient& api;
  std::vector<protocol::Repository> repositories;
  const RecordKeys& keys;
  const FollowedBuilds& followed;
  bool allow_older = false;  // follow a build that is older than the last one
};

// The repository that a flake is a clone of, and this machine's targets in it.
struct OwnFlake {
  OwnRepository repository;
  std::vector<std::string> targets;
};

// A followed build, for FollowedBuilds::note.
struct FollowedBuild {
  std::string source;
  protocol::BuildRecord record;
};

struct UpdatedLock {
  std::optional<std::string> before;  // the text of flake.lock; nothing: it did not exist
  std::string after;
  std::vector<InputChange> changes;
  std::vector<std::string> followed;  // "nix-terminal: build 12, 1a2b3c4d"
  std::vector<FollowedBuild> builds;
  std::vector<std::string> notes;  // deviations from the request, one line each
};

// `server` is null for an update from upstream. With `own`, a flake that the server builds itself,
// the inputs are those of the newest build in which its targets succeeded. Throws Error if the
// inputs cannot be locked, and the exceptions of ApiClient. Throws RefusedError if the server's
// description of a build is not signed, does not match or goes back: then nothing of it is
// followed. An input that cannot be updated stays the same, with a note. So do inputs on
// `silent_host` (empty: none), which are not tried, as git would wait for minutes.
UpdatedLock update_lock(const Runner& runner, const std::filesystem::path& flake,
                        const AnsweringServer* server, const std::optional<OwnFlake>& own,
                        const std::string& silent_host);

}  // namespace nixbuild::cli
