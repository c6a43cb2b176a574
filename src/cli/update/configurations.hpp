// Finds what flakes configure on this machine: NixOS, this user's home, or both.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/update/runner.hpp"

namespace nixbuild::cli {

enum class ConfigurationKind : std::uint8_t { nixos, home };

struct Configuration {
  ConfigurationKind kind = ConfigurationKind::home;
  std::filesystem::path flake;  // the directory with flake.nix, without links
  std::string name;             // of the attribute

  // The installable to build, for `nix build` in that directory.
  std::string installable() const;
  // Its name among the targets of a server that builds the flake.
  std::string target() const;
};

// "DIR" or "DIR#NAME".
struct FlakeChoice {
  std::filesystem::path directory;
  std::string name;  // empty: not given
};
// Throws UsageError if it is not a directory with a flake.nix.
FlakeChoice parse_flake_choice(std::string_view text);

// The user and host that configurations are chosen for.
struct Identity {
  std::string user;
  std::string host;
  bool is_root = false;
  bool is_nixos = false;
};
Identity this_machine();

// The name of the user that owns a file, or the numeric ID if there is no name.
std::string owner_of(const std::filesystem::path& file);

// This machine's name among `names`, in the tools' own order of preference. Root's home is never
// "default", which belongs to some other person.
std::optional<std::string> choose_name(ConfigurationKind kind,
                                       const std::vector<std::string>& names,
                                       const Identity& identity);

// Without a choice: the flake of the current directory if it has this machine's configuration, else
// /etc/nixos for NixOS, and `home_flake` or, if that is empty, ~/.config/home-manager for the home.
// Throws UsageError if there is none, Error if a flake does not evaluate.
std::vector<Configuration> find_configurations(const Runner& runner,
                                               const std::optional<FlakeChoice>& choice,
                                               const std::string& home_flake,
                                               const Identity& identity, bool impure);

}  // namespace nixbuild::cli
