// A build server as seen by a new machine: what it says about itself, and where its cache is.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "common/config/build_options.hpp"
#include "common/net/server_address.hpp"
#include "common/protocol/types.hpp"

namespace nixbuild::cli {

struct BuildServer {
  net::ServerAddress api;
  net::ServerAddress cache;
  std::optional<protocol::Info> info;    // nothing: no response from the API
  std::string problem;                   // why not
  std::vector<std::string> store_paths;  // of its newest build
};

// Asks the API; if there is no response, the cache is assumed to be on the same host. `timeout`
// bounds each request, if the default is too long. Throws UsageError if the settings are invalid.
BuildServer ask_build_server(const config::ClientOptions& options,
                             std::optional<std::chrono::milliseconds> timeout = std::nullopt);

}  // namespace nixbuild::cli
