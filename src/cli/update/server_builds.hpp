// What the build server has built of a flake's inputs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/api_client.hpp"
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

// A successful build.
struct ServerBuild {
  std::int64_t id = 0;
  std::string commit;
  std::optional<nix::FlakeLock> lock;  // it was built with; nothing: it has no inputs
};

// The repository's last one; nothing when there is none. Throws as ApiClient does.
std::optional<ServerBuild> last_success(ApiClient& api, const std::string& repository);

}  // namespace nixbuild::cli
