// Checks of a server: units, the signing key, the store, the NAR cache, programs.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cli/doctor/file_access.hpp"
#include "cli/machine/check.hpp"
#include "cli/machine/known_keys.hpp"
#include "common/config/configuration.hpp"

namespace nixbuild::cli {

// Where the server's files are on this machine, and the users of its services.
struct ServerSetup {
  bool has_units = false;  // systemd's
  std::filesystem::path state_dir;
  std::vector<std::filesystem::path> key_files;
  std::filesystem::path nix_state_dir;
  UserIds cache_user;  // reads the key and the store, writes the NAR cache
};

// Whether the units are installed in systemd's directories.
bool has_installed_units();
// Whether one of them is enabled at boot. A client may have them installed, but not enabled.
bool has_enabled_units();
// Throws UsageError if no state directory can be determined.
ServerSetup find_server_setup(const config::Configuration& configuration);

// The state of a unit by `systemctl show`.
struct UnitState {
  std::string name;
  std::string load;    // "loaded", "not-found"
  std::string active;  // "active", "inactive", "failed", …
  std::string result;  // "success", "exit-code", …
  std::string sub;     // "running", "auto-restart", …: details of `active`
};
// From `systemctl show --property Id,LoadState,ActiveState,SubState,Result UNIT…`.
std::vector<UnitState> parse_unit_states(std::string_view text);
// A service that waits for its first connection is fine if its socket listens.
Check check_units(const std::vector<UnitState>& units);

// Checks one key file: its mode, who can read it, and that its public half is what the cache shows.
Check check_key_file(const std::filesystem::path& file, const PublicKeys& served);

// Builds need Nix's daemon, if one is used; its socket outlives it.
Check check_nix_daemon(const std::filesystem::path& nix_state_dir);

// All checks. `served` are the keys that the cache shows; empty if it does not answer.
std::vector<Check> check_server(const ServerSetup& setup, const PublicKeys& served);

}  // namespace nixbuild::cli
