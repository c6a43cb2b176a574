// Loading settings: configuration files first, then the environment. Flags come last and are the
// command line's business.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/config/setting.hpp"

namespace nixbuild::config {

using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// The environment of this process; an empty variable counts as one that is not set.
std::optional<std::string> process_environment(const std::string& name);

// The files that are read, in order: `explicit_file` (--config) alone, else NIXBUILD_CONFIG alone,
// else /etc/nixbuild/config.toml and $XDG_CONFIG_HOME/nixbuild/config.toml. A file that was named
// must exist.
struct ConfigFile {
  std::filesystem::path path;
  bool must_exist = false;
};
std::vector<ConfigFile> config_files(const std::optional<std::filesystem::path>& explicit_file,
                                     const Environment& environment);

// Reads TOML into `settings`. Scalars and lists replace what an earlier file said. Throws
// ConfigurationError with a line "FILE:LINE: KEY: what is wrong" for each unknown table or key,
// wrong type and value out of range, UsageError for a file that cannot be read or is not TOML.
void load_file(Settings& settings, const ConfigFile& file);

// Reads NIXBUILD_<TABLE>_<KEY>; lists are separated by commas. Throws ConfigurationError naming
// each variable that cannot be used.
void load_environment(Settings& settings, const Environment& environment);

}  // namespace nixbuild::config
