#include "cli/update/server_builds.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string_view>

#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/net/http_client.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

bool is_commit(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Whether the input's node comes from there. What a registry stands for shows in what is locked.
bool comes_from(const nlohmann::json& node, const std::string& place) {
  return nix::origin_of(nix::FlakeLock::original_of(node)).place == place ||
         nix::origin_of(nix::FlakeLock::locked_of(node)).place == place;
}

nix::FlakeLock lock_of(ApiClient& api, std::int64_t build) {
  const std::string path =
      protocol::path_of(protocol::Operation::build_lock, fmt::format("{}", build));
  const std::string text = api.text(path);
  try {
    return nix::FlakeLock::parse(text);
  } catch (const FormatError& error) {
    throw net::RefusedError(fmt::format("{}: the answer to GET {} is no lock file: {}",
                                        api.server().host_port(), path, error.what()));
  }
}

}  // namespace

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

std::optional<ServerBuild> last_success(ApiClient& api, const std::string& repository) {
  const std::string path = protocol::path_of(protocol::Operation::builds);
  std::string before;
  constexpr int most_pages = 10;
  for (int page = 0; page < most_pages; ++page) {
    const auto list = api.get<protocol::BuildList>(protocol::with_query(
        path, {{"repository", repository}, {"limit", "100"}, {"before", before}}));
    const auto good = std::find_if(list.builds.begin(), list.builds.end(), [](const auto& build) {
      return build.state == protocol::BuildState::success && build.commit &&
             is_commit(*build.commit);
    });
    if (good != list.builds.end()) {
      ServerBuild build{good->id, *good->commit, std::nullopt};
      if (good->has_lock) {
        build.lock = lock_of(api, good->id);
      }
      return build;
    }
    if (!list.next_before) return std::nullopt;
    before = fmt::format("{}", *list.next_before);
  }
  return std::nullopt;
}

}  // namespace nixbuild::cli
