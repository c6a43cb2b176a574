#include <memory>

#include "cli/command.hpp"
#include "cli/setting_flags.hpp"
#include "common/config/configuration.hpp"
#include "common/config/state_dir.hpp"
#include "common/net/server_address.hpp"
#include "server/proxy/serve_proxy.hpp"

namespace nixbuild::cli {
namespace {

struct ServeProxy {
  explicit ServeProxy(CommandSpec& app) : flags(app, configuration, {"proxy"}) {}

  config::Configuration configuration;  // what --help shows as defaults
  SettingFlags flags;
};

config::ProxyOptions options_of(const ServeProxy& command) {
  config::Configuration configuration;
  command.flags.load_into(configuration);
  config::ProxyOptions options = configuration.proxy;
  options.tailscale_interface = configuration.tailscale_interface;
  if (options.cache_size > 0) {
    options.cache_dir = config::resolve_cache_dir(options.cache_dir, config::process_environment);
  }
  if (options.upstreams.empty()) {
    const net::ServerAddress server = net::parse_server_address(configuration.client.server);
    options.upstreams = {net::default_cache_url(server)};
  }
  return options;
}

}  // namespace

void add_serve_proxy_command(CommandSpec& program) {
  CommandSpec& command =
      program.add_command("serve-proxy", "Proxy other caches without waiting for unreachable ones");
  command.footer(
      R"(A substituter for this machine's Nix: it passes on what its upstreams have, as they signed it, and
has no key of its own. An upstream that is away costs no time: requests are answered from the others,
or 404 at once. With --cache-size, what has passed is kept on disk, and served while its upstream is
away. nix.conf then names the proxy in the place of its upstreams:

  substituters = http://127.0.0.1:5001 https://cache.nixos.org
  narinfo-cache-negative-ttl = 0

Every option is also a key of [proxy] in the configuration file, with underscores for dashes, and a
variable NIXBUILD_PROXY_...; options override variables, which override the file.

Signals: TERM finishes open requests and exits.

Examples:
  nixbuild serve-proxy
      the build server's cache, on 127.0.0.1:5001
  nixbuild serve-proxy --upstream build-server --upstream http://desktop:5000
  nixbuild serve-proxy --upstream https://cache.nixos.org --cache-size 50G)");
  auto state = std::make_shared<ServeProxy>(command);
  command.action([state] {
    proxy::serve_proxy(options_of(*state));
    return ExitCode::done;
  });
}

}  // namespace nixbuild::cli
