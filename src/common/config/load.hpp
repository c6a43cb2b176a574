// Loads settings: configuration files first, then the environment. The command line applies flags
// last.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/config/setting.hpp"

namespace nixbuild::config {

using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// The environment of this process; an empty variable counts as unset.
std::optional<std::string> process_environment(const std::string& name);

// The files to read, in order: only `explicit_file` (--config), else only NIXBUILD_CONFIG, else
// /etc/nixbuild/config.toml and $XDG_CONFIG_HOME/nixbuild/config.toml. A file that was named must
// exist.
struct ConfigFile {
  std::filesystem::path path;
  bool must_exist = false;
};
std::vector<ConfigFile> config_files(const std::optional<std::filesystem::path>& explicit_file,
                                     const Environment& environment);

// Reads TOML into `settings`. Values replace those of earlier files. Throws ConfigurationError with
// a line "FILE:LINE: KEY: what is wrong" for each unknown table or key, wrong type and value out of
// range, UsageError if the file cannot be read or is not TOML.
void load_file(Settings& settings, const ConfigFile& file);

// Reads NIXBUILD_<TABLE>_<KEY>; lists are separated by commas. Throws ConfigurationError naming
// each invalid variable.
void load_environment(Settings& settings, const Environment& environment);

}  // namespace nixbuild::config
