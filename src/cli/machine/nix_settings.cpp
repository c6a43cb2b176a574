#include "cli/machine/nix_settings.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>

#include "cli/machine/short_command.hpp"
#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/nix/error_reason.hpp"

namespace nixbuild::cli {
namespace {

using Environment = std::vector<std::pair<std::string, std::optional<std::string>>>;

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (true) {
    const std::size_t begin = text.find_first_not_of(" \t\n");
    if (begin == std::string_view::npos) return words;
    text.remove_prefix(begin);
    const std::size_t end = std::min(text.find_first_of(" \t\n"), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

NixSettings ask_settings(const Environment& environment) {
  return read_nix_settings([&environment](std::vector<std::string> arguments) {
    ShortCommand command{.arguments = {"nix", "--extra-experimental-features", "nix-command"},
                         .environment = environment};
    command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
    auto exit = run_briefly(std::move(command));
    if (!exit) throw Error("cannot read Nix's settings: no `nix` in PATH");
    return *exit;
  });
}

std::string effective_user() {
  const passwd* entry = ::getpwuid(::geteuid());
  return entry != nullptr ? entry->pw_name : std::string();
}

std::vector<std::string> group_names() {
  std::vector<gid_t> ids(static_cast<std::size_t>(std::max(::getgroups(0, nullptr), 0)));
  const int count = ::getgroups(static_cast<int>(ids.size()), ids.data());
  ids.resize(static_cast<std::size_t>(std::max(count, 0)));
  ids.push_back(::getegid());
  std::vector<std::string> names;
  for (const gid_t id : ids) {
    if (const group* entry = ::getgrgid(id)) names.emplace_back(entry->gr_name);
  }
  return names;
}

// Without a daemon Nix writes to the store itself, and nobody else decides.
bool writes_to_store() {
  const char* remote = std::getenv("NIX_REMOTE");
  if (remote != nullptr && std::string_view(remote) == "daemon") return false;
  const char* state = std::getenv("NIX_STATE_DIR");
  const std::string directory =
      std::string(state != nullptr && *state != '\0' ? state : "/nix/var/nix") + "/db";
  return ::access(directory.c_str(), W_OK) == 0;
}

}  // namespace

NixSettings read_nix_settings(const RunNix& run) {
  Exit exit = run({"config", "show"});
  if (!exit.ok()) exit = run({"show-config"});
  if (exit.ok()) return parse_nix_settings(exit.output);
  throw Error(fmt::format("cannot read Nix's settings (nix config show): {}",
                          terminal::printable(nix::reason_of(exit))));
}

NixSettings parse_nix_settings(std::string_view text) {
  NixSettings settings;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::size_t equals = line.find(" =");
    if (equals == std::string_view::npos) continue;
    const std::string_view value = line.substr(equals + 2);
    settings[std::string(line.substr(0, equals))] =
        value.substr(std::min(value.find_first_not_of(' '), value.size()));
  }
  return settings;
}

std::vector<std::string> list_of(const NixSettings& settings, std::string_view name) {
  const auto found = settings.find(name);
  return found == settings.end() ? std::vector<std::string>() : words_of(found->second);
}

std::optional<NixVersion> parse_nix_version(std::string_view text) {
  for (const std::string& word : words_of(text)) {
    if (std::isdigit(static_cast<unsigned char>(word.front())) == 0) continue;
    NixVersion version;
    const char* end = word.data() + word.size();
    const auto major = std::from_chars(word.data(), end, version.major);
    if (major.ec == std::errc() && major.ptr != end && *major.ptr == '.') {
      std::from_chars(major.ptr + 1, end, version.minor);
    }
    return version;
  }
  return std::nullopt;
}

bool names_user(const std::vector<std::string>& trusted, std::string_view user,
                const std::vector<std::string>& groups) {
  return std::any_of(trusted.begin(), trusted.end(), [&](const std::string& entry) {
    if (entry == "*" || entry == user) return true;
    return entry.starts_with('@') &&
           std::find(groups.begin(), groups.end(), entry.substr(1)) != groups.end();
  });
}

bool same_cache(std::string_view a, std::string_view b) {
  const auto bare = [](std::string_view url) {
    url = url.substr(0, url.find('?'));
    while (url.ends_with('/'))
      url.remove_suffix(1);
    return url;
  };
  return bare(a) == bare(b);
}

bool LocalNix::has_flakes() const {
  const std::vector<std::string> features = list_of(settings, "experimental-features");
  const auto has = [&](std::string_view name) {
    return std::find(features.begin(), features.end(), name) != features.end();
  };
  return has("nix-command") && has("flakes");
}

std::vector<std::string> LocalNix::substituters() const {
  if (is_trusted) return list_of(settings, "substituters");
  std::vector<std::string> in_force = list_of(system_settings, "substituters");
  const std::vector<std::string> allowed = list_of(system_settings, "trusted-substituters");
  for (const std::string& url : list_of(settings, "substituters")) {
    const auto is_it = [&](const std::string& other) { return same_cache(url, other); };
    if (std::any_of(allowed.begin(), allowed.end(), is_it)) in_force.push_back(url);
  }
  return in_force;
}

std::vector<std::string> LocalNix::trusted_public_keys() const {
  return list_of(is_trusted ? settings : system_settings, "trusted-public-keys");
}

std::optional<LocalNix> ask_nix() {
  const auto version = run_briefly({.arguments = {"nix", "--version"}, .environment = {}});
  if (!version) return std::nullopt;
  LocalNix nix;
  nix.version_text = terminal::printable(version->output.substr(0, version->output.find('\n')));
  nix.version = parse_nix_version(nix.version_text).value_or(NixVersion{});
  nix.settings = ask_settings({});
  nix.system_settings = ask_settings({{"NIX_USER_CONF_FILES", ""}, {"NIX_CONFIG", std::nullopt}});
  nix.owns_store = writes_to_store();
  nix.is_trusted = nix.owns_store || names_user(list_of(nix.system_settings, "trusted-users"),
                                                effective_user(), group_names());
  return nix;
}

}  // namespace nixbuild::cli
