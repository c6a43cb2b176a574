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
  std::vector<config::Repository> repositories;  // the first is meant without a name
  int max_parallel = 1;                          // builds at once
  // What the local runner tells run-build beside the repository's name.
  std::vector<std::string> run_arguments;
  // Reads the configuration anew, on SIGHUP. What cannot change while it runs (addresses, state,
  // runner) is left as it is.
  std::function<ServeOptions()> reload;
};

// Serves until SIGTERM. Throws UsageError for options that make no sense, Error naming an
// address or a state directory that cannot be used.
void serve_api(const ServeOptions& options);

}  // namespace nixbuild::api
