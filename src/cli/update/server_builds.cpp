#include "cli/update/server_builds.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string_view>

#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/net/http_client.hpp"
#include "common/protocol/names.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

// The numbers of the newest builds in which `target` succeeded, or that succeeded as a whole if it
// is empty; newest first.
std::vector<std::int64_t> successes(ApiClient& api, const std::string& repository,
                                    const std::string& target, int limit) {
  std::vector<std::int64_t> numbers;
  for (const protocol::Build& build : list_builds(api, repository, target, "success", limit))
    numbers.push_back(build.id);
  return numbers;
}

std::optional<std::int64_t> newest_success(ApiClient& api, const std::string& repository,
                                           const std::vector<std::string>& targets) {
  const bool is_one = targets.size() <= 1;
  std::vector<std::int64_t> candidates =
      successes(api, repository, targets.empty() ? "" : targets.front(), is_one ? 1 : 100);
  for (std::size_t i = 1; i < targets.size(); ++i) {
    const auto others = successes(api, repository, targets[i], 100);
    std::erase_if(candidates, [&](std::int64_t number) {
      return std::find(others.begin(), others.end(), number) == others.end();
    });
  }
  if (candidates.empty()) return std::nullopt;
  return candidates.front();
}

// Whether the record says what newest_success() was asked for.
bool is_success(const protocol::BuildRecord& record, const std::vector<std::string>& targets) {
  if (targets.empty()) return record.state == protocol::BuildState::success;
  return std::all_of(targets.begin(), targets.end(), [&](const std::string& target) {
    return std::any_of(record.targets.begin(), record.targets.end(),
                       [&](const protocol::RecordedTarget& built) { return built.name == target; });
  });
}

}  // namespace

std::vector<protocol::Build> list_builds(ApiClient& api, const std::string& repository,
                                         const std::string& target, const std::string& result,
                                         int limit) {
  return api
      .get<protocol::BuildList>(protocol::with_query(protocol::path_of(protocol::Operation::builds),
                                                     {{"repository", repository},
                                                      {"target", target},
                                                      {"result", result},
                                                      {"limit", fmt::format("{}", limit)}}))
      .builds;
}

bool comes_from(const nlohmann::json& node, const std::string& place) {
  return nix::origin_of(nix::FlakeLock::original_of(node)).place == place ||
         nix::origin_of(nix::FlakeLock::locked_of(node)).place == place;
}

bool is_hosted_by(const nlohmann::json& node, std::string_view host) {
  const std::string place = nix::origin_of(nix::FlakeLock::original_of(node)).place;
  const std::string_view authority = std::string_view(place).substr(0, place.find('/'));
  const std::string written =
      host.find(':') == std::string_view::npos ? std::string(host) : fmt::format("[{}]", host);
  if (host.empty() || authority.size() < written.size()) return false;
  const std::string_view port = authority.substr(written.size());
  return std::equal(
             written.begin(), written.end(), authority.begin(),
             [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; }) &&
         (port.empty() || port.front() == ':');
}

std::vector<BuiltInput> built_inputs(const nix::FlakeLock& lock,
                                     const std::vector<protocol::Repository>& repositories,
                                     std::vector<std::string>& notes) {
  std::vector<BuiltInput> found;
  for (const std::string& name : lock.inputs()) {
    const nlohmann::json& node = *lock.input(name);
    const nix::Origin origin = nix::origin_of(nix::FlakeLock::original_of(node));
    std::string other_branch;
    for (const protocol::Repository& repository : repositories) {
      if (!comes_from(node, nix::place_of_url(repository.url))) continue;
      if (origin.is_fixed) {
        notes.push_back(fmt::format("{}: flake.nix names its commit, which stays", name));
        break;
      }
      if (origin.ref && repository.branch && *origin.ref != *repository.branch) {
        other_branch = *repository.branch;
        continue;
      }
      other_branch.clear();
      found.push_back({name, repository.name, repository.branch});
      break;
    }
    if (!other_branch.empty()) {
      notes.push_back(fmt::format("{}: this flake wants '{}', the server builds '{}'", name,
                                  *origin.ref, terminal::printable(other_branch)));
    }
  }
  return found;
}

std::optional<ServerBuild> last_success(ApiClient& api, const std::string& repository,
                                        const std::vector<std::string>& targets,
                                        const RecordKeys& keys) {
  const auto number = newest_success(api, repository, targets);
  if (!number) return std::nullopt;
  VerifiedRecord verified = fetch_record(api, *number, keys);
  const protocol::BuildRecord& record = verified.record;
  if (record.repository != repository || !is_success(record, targets)) {
    throw net::RefusedError(fmt::format(
        "{}: the record of build {} says {} of {}, not success of {}{}", api.server().host_port(),
        *number, protocol::name_of(record.state), terminal::printable(record.repository),
        targets.empty() ? "" : "a target of ", repository));
  }
  ServerBuild build{record, std::nullopt, verified.signer.name()};
  if (record.lock_sha256) {
    try {
      build.lock = nix::FlakeLock::parse(fetch_recorded_lock(api, record));
    } catch (const FormatError& error) {
      throw net::RefusedError(fmt::format("{}: the flake.lock of build {}: {}",
                                          api.server().host_port(), *number, error.what()));
    }
  }
  return build;
}

}  // namespace nixbuild::cli
