// Brings a flake's inputs up to date: after the builds of the server, or from upstream.
//
// All of it happens in a copy of flake.nix, flake.lock and the inputs that lie beside them, in a
// temporary directory: whatever fails or is broken off, the flake itself has not been touched.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/api_client.hpp"
#include "cli/machine/build_record.hpp"
#include "cli/update/followed_builds.hpp"
#include "cli/update/pinning.hpp"
#include "cli/update/runner.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::cli {

// A server that has answered, and what decides whether its builds are followed.
struct AnsweringServer {
  ApiClient& api;
  std::vector<protocol::Repository> repositories;
  const RecordKeys& keys;
  const FollowedBuilds& followed;
  bool allow_older = false;  // follow a build although that goes back
};

// A build that is followed now, for FollowedBuilds::note.
struct FollowedBuild {
  std::string source;
  protocol::BuildRecord record;
};

struct UpdatedLock {
  std::optional<std::string> before;  // the text of flake.lock; nothing: there was none
  std::string after;
  std::vector<InputChange> changes;
  std::vector<std::string> followed;  // "nix-terminal: build 12, 1a2b3c4d"
  std::vector<FollowedBuild> builds;
  std::vector<std::string> notes;  // what is not as wished, one line each
};

// `server` is null for an update from upstream. Throws Error where the inputs cannot be locked, and
// as ApiClient does; RefusedError if what the server says of a build is not signed, does not fit or
// goes back: then nothing of it is followed. An input that cannot be updated stays as it is, with a
// note. So does one that lies on `silent_host`, empty for none, without a try: git would wait for
// minutes.
UpdatedLock update_lock(const Runner& runner, const std::filesystem::path& flake,
                        const AnsweringServer* server, const std::string& silent_host);

}  // namespace nixbuild::cli
