#include "cli/machine/build_server.hpp"

#include "cli/api_client.hpp"
#include "common/base/error.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {

BuildServer ask_build_server(const config::ClientOptions& options,
                             std::optional<std::chrono::milliseconds> timeout) {
  ApiClient api(options, timeout);
  BuildServer server;
  server.api = api.server();
  server.cache = net::parse_server_address(net::default_cache_url(server.api), net::cache_port);
  try {
    server.info = api.get<protocol::Info>(protocol::path_of(protocol::Operation::info));
    if (!server.info->cache_url.empty()) {
      server.cache = net::parse_server_address(server.info->cache_url, net::cache_port);
    }
    server.store_paths =
        api.get<protocol::BuildStatus>(protocol::path_of(protocol::Operation::status)).outputs;
  } catch (const Error& error) {
    server.problem = error.what();
  }
  return server;
}

}  // namespace nixbuild::cli
