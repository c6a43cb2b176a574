// The whole configuration of the program. Every command reads all tables, so that one file serves
// all commands and each of them finds a mistyped key.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "common/config/alias_options.hpp"
#include "common/config/build_options.hpp"
#include "common/config/cache_options.hpp"
#include "common/config/load.hpp"
#include "common/config/proxy_options.hpp"
#include "common/config/service_settings.hpp"
#include "common/config/setting.hpp"
#include "common/config/update_options.hpp"

namespace nixbuild::config {

class Configuration {
 public:
  Configuration();
  Configuration(const Configuration&) = delete;
  Configuration& operator=(const Configuration&) = delete;

  // Reads the configuration files, then the environment. Throws ConfigurationError with all
  // problems; valid values have been applied by then.
  void load(const std::optional<std::filesystem::path>& explicit_file,
            const Environment& environment);
  // Checks what involves several settings. To be called once the flags have been read. Throws
  // UsageError.
  void check() const;

  std::filesystem::path state_dir;  // as configured; see resolve_state_dir
  std::string tailscale_interface = "tailscale0";
  ClientOptions client;
  AliasOptions aliases;
  UpdateOptions update;
  CacheOptions cache;
  ProxyOptions proxy;
  ApiOptions api;
  BuildOptions build;
  RepositoryList repositories;

  // Bound to the fields above.
  Settings settings;
};

// The configuration as an equivalent file; a comment on each line says where its value comes from.
// Credentials in URLs are masked.
std::string render(const Configuration& configuration);

}  // namespace nixbuild::config
