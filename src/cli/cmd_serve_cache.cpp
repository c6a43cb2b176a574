#include <memory>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cli/setting_flags.hpp"
#include "common/base/error.hpp"
#include "common/config/configuration.hpp"
#include "common/config/state_dir.hpp"
#include "server/cache/serve_cache.hpp"

namespace nixbuild::cli {
namespace {

struct ServeCache {
  explicit ServeCache(CommandSpec& app) : flags(app, configuration, {"", "cache"}) {}

  config::Configuration configuration;  // source of the defaults in --help
  SettingFlags flags;
};

config::CacheOptions options_of(const ServeCache& command) {
  config::Configuration configuration;
  command.flags.load_into(configuration);
  config::CacheOptions options = configuration.cache;
  options.state_dir =
      config::resolve_state_dir(configuration.state_dir, config::process_environment);
  // The servers whose builds this machine follows are those whose paths it may pass on.
  std::vector<std::string>& keys = options.only_signed_by;
  if (std::erase(keys, config::record_keys_word) > 0) {
    const std::vector<std::string>& known = configuration.client.record_keys;
    if (known.empty()) {
      throw UsageError(
          "serve-cache: --only-signed-by record_keys needs record_keys in [client] of the "
          "configuration; `nixbuild bootstrap` sets it");
    }
    keys.insert(keys.end(), known.begin(), known.end());
  }
  options.tailscale_interface = configuration.tailscale_interface;
  return options;
}

}  // namespace

void add_serve_cache_command(CommandSpec& program) {
  CommandSpec& command =
      program.add_command("serve-cache", "Serve this machine's Nix store as a signed binary cache");
  command.footer(
      R"(http://SERVER:5000/ shows what a client needs: the substituter line and the public key. Every option
is also a key of [cache] in the configuration file, with underscores for dashes, and a variable
NIXBUILD_CACHE_...; options override variables, which override the file. state_dir and
tailscale_interface are above every table, and NIXBUILD_STATE_DIR and NIXBUILD_TAILSCALE_INTERFACE.

Signals: TERM finishes open requests and exits; HUP reloads the keys, and secret_key_file,
skip_signed_by and priority of the configuration.

Examples:
  nixbuild serve-cache
      on loopback and Tailscale, port 5000, with a key that the first start creates
  nixbuild serve-cache --listen 127.0.0.1:8080 --secret-key-file /etc/nix/cache-key
  nixbuild serve-cache --only-signed-by record_keys
      on a laptop: for other machines, what the build server signed, and nothing that was built here
  nixbuild serve-cache --real-store-dir /guest/nix/store --nix-state-dir /guest/nix/var/nix
      a store below another root)");
  auto state = std::make_shared<ServeCache>(command);
  command.action([state] {
    cache::serve_cache(options_of(*state), [state] { return options_of(*state); });
    return ExitCode::done;
  });
}

}  // namespace nixbuild::cli
