// The whole configuration of the program: every table, whichever command runs, so that one file
// serves all commands and a mistyped key is found by each.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "common/config/alias_options.hpp"
#include "common/config/build_options.hpp"
#include "common/config/cache_options.hpp"
#include "common/config/load.hpp"
#include "common/config/service_settings.hpp"
#include "common/config/setting.hpp"
#include "common/config/update_options.hpp"

namespace nixbuild::config {

class Configuration {
 public:
  Configuration();
  Configuration(const Configuration&) = delete;
  Configuration& operator=(const Configuration&) = delete;

  // Reads the configuration files, then the environment. Throws ConfigurationError with all that is
  // wrong; what is right has been taken over then.
  void load(const std::optional<std::filesystem::path>& explicit_file,
            const Environment& environment);
  // What no setting shows by itself: whether those that hang together agree. To be called once the
  // flags are read, too. Throws UsageError.
  void check() const;

  std::filesystem::path state_dir;  // as told; see resolve_state_dir
  std::string tailscale_interface = "tailscale0";
  ClientOptions client;
  AliasOptions aliases;
  UpdateOptions update;
  CacheOptions cache;
  ApiOptions api;
  BuildOptions build;
  RepositoryList repositories;

  // Bound to the fields above.
  Settings settings;
};

// The configuration as a file that says the same, with a comment at each line that tells where its
// value comes from. Credentials in URLs are masked.
std::string render(const Configuration& configuration);

}  // namespace nixbuild::config
