// Finds out what the build server has built of a flake's inputs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/api_client.hpp"
#include "cli/machine/build_record.hpp"
#include "common/nix/flake_lock.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::cli {

// An input of a flake that the server builds.
struct BuiltInput {
  std::string name;  // the input's name
  std::string repository;
  std::optional<std::string> branch;  // the one the server builds; nothing: the remote's HEAD
};

// The inputs of `lock` that come from one of the repositories. Those that name a commit, or another
// branch than the one that is built, are omitted; `notes` says so.
std::vector<BuiltInput> built_inputs(const nix::FlakeLock& lock,
                                     const std::vector<protocol::Repository>& repositories,
                                     std::vector<std::string>& notes);

// Whether the node's input is fetched from the host, whatever the port.
bool is_hosted_by(const nlohmann::json& node, std::string_view host);

// Whether the node's input comes from that place. For a registry's name, the locked reference shows
// what it means.
bool comes_from(const nlohmann::json& node, const std::string& place);

// A successful build, as its signed record describes it.
struct ServerBuild {
  protocol::BuildRecord record;
  std::optional<nix::FlakeLock> lock;  // that it was built with; nothing: it has no inputs
  std::string signer;                  // the key's name
};

// The repository's newest builds, according to the server. With `target`, those that have it, and
// with `result`, those in which it has this result, or that have it themselves without a target.
// This is not signed: what is followed needs a record.
std::vector<protocol::Build> list_builds(ApiClient& api, const std::string& repository,
                                         const std::string& target, const std::string& result,
                                         int limit);

// The repository's last build that was successful or, with `targets`, in which all of these
// succeeded, whatever else failed. It is verified; nothing if the server reports none. Throws as
// ApiClient does, and RefusedError if the record is not signed by one of `keys` or does not match.
std::optional<ServerBuild> last_success(ApiClient& api, const std::string& repository,
                                        const std::vector<std::string>& targets,
                                        const RecordKeys& keys);

}  // namespace nixbuild::cli
