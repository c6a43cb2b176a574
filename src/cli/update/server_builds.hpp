// What the build server has built of a flake's inputs.
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
  std::string name;  // of the input
  std::string repository;
  std::optional<std::string> branch;  // that the server builds; nothing: the remote's HEAD
};

// The inputs of `lock` that come from one of the repositories. One that names a commit is left out,
// and so is one that names another branch than the one that is built: `notes` says so.
std::vector<BuiltInput> built_inputs(const nix::FlakeLock& lock,
                                     const std::vector<protocol::Repository>& repositories,
                                     std::vector<std::string>& notes);

// Whether the input that has this node is fetched from the host, whatever its port.
bool is_hosted_by(const nlohmann::json& node, std::string_view host);

// Whether the input that has this node comes from that place. What a registry stands for shows in
// what is locked.
bool comes_from(const nlohmann::json& node, const std::string& place);

// A successful build, as its signed record describes it.
struct ServerBuild {
  protocol::BuildRecord record;
  std::optional<nix::FlakeLock> lock;  // it was built with; nothing: it has no inputs
  std::string signer;                  // the name of the key
};

// The repository's last one, verified; nothing if the server names none. Throws as ApiClient does,
// and RefusedError if the record is not signed by one of `keys` or does not fit.
std::optional<ServerBuild> last_success(ApiClient& api, const std::string& repository,
                                        const RecordKeys& keys);

}  // namespace nixbuild::cli
