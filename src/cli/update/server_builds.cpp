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

// The number of the newest successful build, according to the server. Nothing else of this response
// is used, as it is not signed.
std::optional<std::int64_t> newest_success(ApiClient& api, const std::string& repository) {
  const std::string path = protocol::path_of(protocol::Operation::builds);
  std::string before;
  constexpr int most_pages = 10;
  for (int page = 0; page < most_pages; ++page) {
    const auto list = api.get<protocol::BuildList>(protocol::with_query(
        path, {{"repository", repository}, {"limit", "100"}, {"before", before}}));
    const auto good = std::find_if(list.builds.begin(), list.builds.end(), [](const auto& build) {
      return build.state == protocol::BuildState::success;
    });
    if (good != list.builds.end()) return good->id;
    if (!list.next_before) return std::nullopt;
    before = fmt::format("{}", *list.next_before);
  }
  return std::nullopt;
}

}  // namespace

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
                                        const RecordKeys& keys) {
  const auto number = newest_success(api, repository);
  if (!number) return std::nullopt;
  VerifiedRecord verified = fetch_record(api, *number, keys);
  const protocol::BuildRecord& record = verified.record;
  if (record.repository != repository || record.state != protocol::BuildState::success) {
    throw net::RefusedError(
        fmt::format("{}: the record of build {} says {} of {}, not success of {}",
                    api.server().host_port(), *number, protocol::name_of(record.state),
                    terminal::printable(record.repository), repository));
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
