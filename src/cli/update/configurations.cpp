#include "cli/update/configurations.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <system_error>

#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/config/load.hpp"
#include "common/nix/attribute_path.hpp"
#include "common/nix/error_reason.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

std::string_view output_of(ConfigurationKind kind) {
  return kind == ConfigurationKind::nixos ? "nixosConfigurations" : "homeConfigurations";
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The directory that really contains flake.nix, as NixOS resolves it: /etc/nixos/flake.nix may be a
// link.
std::optional<fs::path> flake_in(const fs::path& directory) {
  std::error_code error;
  const fs::path file = fs::canonical(directory / "flake.nix", error);
  if (error) return std::nullopt;
  return file.parent_path();
}

// The errors of git, and of Nix if it opens the repository itself.
bool is_of_another_user(std::string_view error) {
  return error.find("dubious ownership") != std::string_view::npos ||
         error.find("not owned by current user") != std::string_view::npos ||
         error.find("unsafe repository") != std::string_view::npos;
}

fs::path repository_of(const fs::path& flake) {
  std::error_code error;
  for (fs::path directory = flake; directory != directory.root_path();
       directory = directory.parent_path()) {
    if (fs::exists(directory / ".git", error)) return directory;
  }
  return flake;
}

std::vector<std::string> names_in(const Runner& runner, const fs::path& flake,
                                  ConfigurationKind kind, bool impure) {
  std::vector<std::string> arguments = {"eval",
                                        "--json",
                                        "--no-write-lock-file",
                                        fmt::format(".#{}", output_of(kind)),
                                        "--apply",
                                        "builtins.attrNames"};
  if (impure) arguments.emplace_back("--impure");
  const Exit exit = runner.nix(std::move(arguments), flake);
  if (!exit.ok()) {
    if (exit.error.find("does not provide attribute") != std::string::npos) return {};
    if (is_of_another_user(exit.error)) {
      const fs::path repository = repository_of(flake);
      throw Error(fmt::format(
          "the flake in {} is in a git repository of {}, and git refuses to read other users' "
          "repositories; run system-update as {}, or trust the repository: git config --global "
          "--add safe.directory {}",
          flake.string(), owner_of(repository), owner_of(repository), repository.string()));
    }
    throw Error(
        fmt::format("the flake in {} does not evaluate: {}; --flake says which other to use",
                    flake.string(), nix::reason_of(exit)));
  }
  std::vector<std::string> names;
  const auto json = nlohmann::json::parse(exit.output, nullptr, false);
  if (!json.is_array()) return names;
  for (const auto& name : json) {
    if (name.is_string()) names.push_back(name.get<std::string>());
  }
  return names;
}

struct Search {
  const Runner& runner;
  const Identity& identity;
  bool impure;
  std::vector<std::string> seen;  // "homeConfigurations.ann", for the error if none fits

  std::optional<Configuration> look(const fs::path& flake, ConfigurationKind kind,
                                    const std::string& wanted) {
    const auto names = names_in(runner, flake, kind, impure);
    for (const std::string& name : names)
      seen.push_back(fmt::format("{}.{}", output_of(kind), terminal::printable(name)));
    if (!wanted.empty()) {
      if (!has(names, wanted)) return std::nullopt;
      return Configuration{kind, flake, wanted};
    }
    const auto name = choose_name(kind, names, identity);
    if (!name) return std::nullopt;
    return Configuration{kind, flake, *name};
  }

  std::vector<Configuration> look(const fs::path& flake, const std::string& wanted) {
    std::vector<Configuration> found;
    for (const auto kind : {ConfigurationKind::nixos, ConfigurationKind::home}) {
      if (kind == ConfigurationKind::nixos && !identity.is_nixos) continue;
      if (auto one = look(flake, kind, wanted)) found.push_back(std::move(*one));
    }
    return found;
  }
};

[[noreturn]] void throw_none(const Search& search, std::string_view where) {
  const std::string seen =
      search.seen.empty() ? "" : fmt::format(" (there is: {})", fmt::join(search.seen, ", "));
  throw UsageError(
      fmt::format("no configuration of {}@{} is found in {}{}; --flake DIR#NAME says which to use",
                  search.identity.user, search.identity.host, where, seen));
}

std::vector<fs::path> home_flakes(const std::string& told) {
  if (!told.empty()) return {told};
  std::vector<fs::path> directories;
  fs::path config;
  if (const auto xdg = config::process_environment("XDG_CONFIG_HOME")) {
    config = *xdg;
  } else if (const auto home = config::process_environment("HOME")) {
    config = fs::path(*home) / ".config";
  }
  if (!config.empty()) directories = {config / "home-manager", config / "nixpkgs"};
  return directories;
}

}  // namespace

std::string Configuration::installable() const {
  std::string quoted;
  for (const char c : name) {
    if (c == '"' || c == '\\' || c == '$') quoted += '\\';
    quoted += c;
  }
  return fmt::format(
      ".#{}.\"{}\".{}", output_of(kind), quoted,
      kind == ConfigurationKind::nixos ? "config.system.build.toplevel" : "activationPackage");
}

std::string Configuration::target() const {
  return nix::attribute_name({std::string(output_of(kind)), name});
}

FlakeChoice parse_flake_choice(std::string_view text) {
  const std::size_t hash = text.find('#');
  const std::string directory(text.substr(0, hash));
  FlakeChoice choice;
  if (hash != std::string_view::npos) choice.name = text.substr(hash + 1);
  const auto flake = flake_in(directory.empty() ? "." : directory);
  if (!flake) {
    throw UsageError(
        fmt::format("flake: {}: a directory of this machine with a flake.nix was expected, as its "
                    "flake.lock is "
                    "to be written",
                    directory));
  }
  choice.directory = *flake;
  return choice;
}

Identity this_machine() {
  Identity identity;
  identity.is_root = ::geteuid() == 0;
  if (const struct passwd* entry = ::getpwuid(::geteuid())) identity.user = entry->pw_name;
  if (identity.user.empty()) identity.user = config::process_environment("USER").value_or("");
  std::array<char, 256> host = {};
  (void)::gethostname(host.data(), host.size() - 1);
  identity.host = host.data();
  std::error_code error;
  identity.is_nixos = fs::exists("/etc/NIXOS", error);
  return identity;
}

std::string owner_of(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return "another user";
  if (const struct passwd* entry = ::getpwuid(status.st_uid)) return entry->pw_name;
  return std::to_string(status.st_uid);
}

std::optional<std::string> choose_name(ConfigurationKind kind,
                                       const std::vector<std::string>& names,
                                       const Identity& identity) {
  const std::string& host = identity.host;
  const std::string short_host = host.substr(0, host.find('.'));
  std::vector<std::string> wanted = {host, short_host, "default"};
  if (kind == ConfigurationKind::home) {
    wanted = {identity.user + '@' + host, identity.user + '@' + short_host, identity.user};
    if (!identity.is_root) wanted.emplace_back("default");
  }
  for (const std::string& name : wanted) {
    if (has(names, name)) return name;
  }
  return std::nullopt;
}

std::vector<Configuration> find_configurations(const Runner& runner,
                                               const std::optional<FlakeChoice>& choice,
                                               const std::string& home_flake,
                                               const Identity& identity, bool impure) {
  Search search{runner, identity, impure, {}};
  if (choice) {
    auto found = search.look(choice->directory, choice->name);
    if (found.empty()) throw_none(search, choice->directory.string());
    return found;
  }
  if (const auto here = flake_in(".")) {
    auto found = search.look(*here, "");
    if (!found.empty()) return found;
  }
  std::vector<Configuration> found;
  const auto add = [&](const fs::path& directory, ConfigurationKind kind) {
    const auto flake = flake_in(directory);
    if (!flake) return false;
    auto one = search.look(*flake, kind, "");
    if (one) found.push_back(std::move(*one));
    return one.has_value();
  };
  if (identity.is_nixos) add("/etc/nixos", ConfigurationKind::nixos);
  for (const fs::path& directory : home_flakes(home_flake)) {
    if (add(directory, ConfigurationKind::home)) break;
  }
  if (found.empty()) {
    throw_none(search, fmt::format("{} and {}", identity.is_nixos ? "., /etc/nixos" : ".",
                                   home_flake.empty() ? "~/.config/home-manager" : home_flake));
  }
  return found;
}

}  // namespace nixbuild::cli
