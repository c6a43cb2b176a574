#include "common/config/state_dir.hpp"

#include <fmt/format.h>

#include "common/base/error.hpp"

namespace nixbuild::config {
namespace {

std::filesystem::path absolute(const std::filesystem::path& path, const char* origin) {
  if (!path.is_absolute()) {
    throw UsageError(
        fmt::format("{} is '{}': an absolute path was expected", origin, path.string()));
  }
  return path.lexically_normal();
}

}  // namespace

std::filesystem::path resolve_state_dir(const std::filesystem::path& configured,
                                        const Environment& environment,
                                        const std::filesystem::path& installed) {
  if (!configured.empty()) return std::filesystem::absolute(configured).lexically_normal();
  if (const auto by_systemd = environment("STATE_DIRECTORY")) {
    return absolute(by_systemd->substr(0, by_systemd->find(':')), "STATE_DIRECTORY");
  }
  std::error_code error;
  if (std::filesystem::exists(installed, error)) return installed;
  return user_state_dir(environment);
}

std::filesystem::path user_state_dir(const Environment& environment) {
  if (const auto state_home = environment("XDG_STATE_HOME")) {
    return absolute(*state_home, "XDG_STATE_HOME") / "nixbuild";
  }
  if (const auto home = environment("HOME")) {
    return absolute(*home, "HOME") / ".local/state/nixbuild";
  }
  throw UsageError("there is no place for the state: HOME is not set; give --state-dir");
}

std::filesystem::path resolve_cache_dir(const std::filesystem::path& configured,
                                        const Environment& environment) {
  constexpr const char* name = "nixbuild-proxy";
  if (!configured.empty()) return std::filesystem::absolute(configured).lexically_normal();
  if (const auto by_systemd = environment("CACHE_DIRECTORY")) {
    return absolute(by_systemd->substr(0, by_systemd->find(':')), "CACHE_DIRECTORY");
  }
  if (const auto cache_home = environment("XDG_CACHE_HOME")) {
    return absolute(*cache_home, "XDG_CACHE_HOME") / name;
  }
  if (const auto home = environment("HOME")) return absolute(*home, "HOME") / ".cache" / name;
  throw UsageError("there is no place for the cache: HOME is not set; give --cache-dir");
}

}  // namespace nixbuild::config
