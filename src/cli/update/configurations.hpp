// What of this machine is configured by a flake: NixOS, this user's home, or both.
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

  // What is built of it, as `nix build` in that directory takes it.
  std::string installable() const;
};

// "DIR" or "DIR#NAME".
struct FlakeChoice {
  std::filesystem::path directory;
  std::string name;  // empty: not said
};
// Throws UsageError for what is no directory with a flake.nix.
FlakeChoice parse_flake_choice(std::string_view text);

// Who and what this machine is.
struct Identity {
  std::string user;
  std::string host;
  bool is_root = false;
  bool is_nixos = false;
};
Identity this_machine();

// The name of the user to whom a file belongs, or the number if it has no name.
std::string owner_of(const std::filesystem::path& file);

// The name among `names` that is this machine's, in the order in which the tools themselves look.
// Root gets no home from "default": that is some person's.
std::optional<std::string> choose_name(ConfigurationKind kind,
                                       const std::vector<std::string>& names,
                                       const Identity& identity);

// Without a choice: the flake of the current directory where it has this machine's configuration,
// else /etc/nixos for NixOS, and for the home `home_flake`, or ~/.config/home-manager where that is
// empty. Throws UsageError where there is none, Error where a flake does not evaluate.
std::vector<Configuration> find_configurations(const Runner& runner,
                                               const std::optional<FlakeChoice>& choice,
                                               const std::string& home_flake,
                                               const Identity& identity, bool impure);

}  // namespace nixbuild::cli
