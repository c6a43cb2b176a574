// The command `serve-api`: trigger, status, logs and history of builds, as JSON over HTTP.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "common/config/build_options.hpp"

namespace nixbuild::api {

struct ServeOptions {
  std::filesystem::path state_dir;
  std::string tailscale_interface;
  config::ApiOptions api;
  std::vector<config::Repository> repositories;  // the first is the default
  int max_parallel = 1;                          // concurrent builds
  // The local runner's additional arguments for run-build.
  std::vector<std::string> run_arguments;
  // Reloads the configuration, on SIGHUP. Settings that cannot change at runtime (addresses, state,
  // runner) are ignored.
  std::function<ServeOptions()> reload;
};

// Serves until SIGTERM. Throws UsageError for invalid options, Error naming an address or a state
// directory that cannot be used.
void serve_api(const ServeOptions& options);

}  // namespace nixbuild::api
