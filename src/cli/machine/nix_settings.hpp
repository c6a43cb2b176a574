// Nix on this machine: its version, the effective settings, and who may change them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/subprocess.hpp"

namespace nixbuild::cli {

// As `nix config show` prints them; lists are separated by spaces.
using NixSettings = std::map<std::string, std::string, std::less<>>;

NixSettings parse_nix_settings(std::string_view text);

// Runs `nix ARGUMENTS...`.
using RunNix = std::function<Exit(std::vector<std::string> arguments)>;
// The effective settings, from `nix config show`, or `nix show-config` before Nix 2.20. Throws
// Error if neither works.
NixSettings read_nix_settings(const RunNix& run);

// The elements of a list; empty if there is no such setting.
std::vector<std::string> list_of(const NixSettings& settings, std::string_view name);

// "2.26.3" from "nix (Nix) 2.26.3"; missing parts are 0. Nothing if there is no version.
struct NixVersion {
  unsigned major = 0;
  unsigned minor = 0;
  friend auto operator<=>(const NixVersion&, const NixVersion&) = default;
};
std::optional<NixVersion> parse_nix_version(std::string_view text);

// Whether `trusted` (trusted-users, with @GROUP and *) includes this user.
bool names_user(const std::vector<std::string>& trusted, std::string_view user,
                const std::vector<std::string>& groups);

// Whether two URLs name the same binary cache: trailing slashes and parameters are ignored.
bool same_cache(std::string_view a, std::string_view b);

struct LocalNix {
  std::string version_text;  // "nix (Nix) 2.26.3"
  NixVersion version;
  NixSettings settings;         // with the user's own nix.conf and NIX_CONFIG
  NixSettings system_settings;  // without the user's: what the daemon uses
  bool owns_store = false;      // writes to the store without a daemon
  bool is_trusted = false;      // by the daemon, or because it owns the store

  bool has_flakes() const;  // nix-command and flakes are enabled

  // The effective substituters of this user: the user's settings if the daemon trusts them, else
  // the system's and those of the user's that trusted-substituters allows.
  std::vector<std::string> substituters() const;
  std::vector<std::string> trusted_public_keys() const;
};

// Nothing if no nix command is in PATH. Throws Error if Nix does not print its settings.
std::optional<LocalNix> ask_nix();

}  // namespace nixbuild::cli
