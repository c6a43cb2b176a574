// The build server as a fresh machine meets it: what it says of itself, and where its cache is.
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
  std::optional<protocol::Info> info;    // nothing: the API gave none
  std::string problem;                   // why not
  std::vector<std::string> store_paths;  // of its newest build
};

// Asks the API; where that gives no answer, the cache is taken to be at the same host. `timeout`
// bounds how long a request may take, where the usual is too long. Throws UsageError when the
// settings are of no use.
BuildServer ask_build_server(const config::ClientOptions& options,
                             std::optional<std::chrono::milliseconds> timeout = std::nullopt);

}  // namespace nixbuild::cli
