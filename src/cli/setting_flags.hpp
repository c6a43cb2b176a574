// Settings as flags of a command, and the order in which the sources of settings are read.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/command_line.hpp"
#include "common/config/configuration.hpp"

namespace nixbuild::cli {

// What a setting is for, with `addition` behind it, and its default where it has one.
std::string help_of(const config::Setting& setting, std::string_view addition = {});

class SettingFlags {
 public:
  // Adds --config, and a flag for each chosen setting: a table ("cache"; "" is the file's top
  // level) or one key ("state_dir"). Both `command` and `configuration` must outlive this object.
  SettingFlags(CommandSpec& command, config::Configuration& configuration,
               const std::vector<std::string_view>& chosen);

  // Adds --repository, which configures a repository like [[repository]] of a file.
  void add_repository_flag(CommandSpec& command);

  // To be called once the command line has been read: configuration files, then environment, then
  // flags. Throws UsageError.
  void load() { load_into(configuration_); }
  // The same into a new configuration: what a file no longer says is then at its default again.
  void load_into(config::Configuration& configuration) const;
  // That no repository is configured, and where to add one.
  std::string no_repository() const;
  // --config, where it was given.
  std::optional<std::filesystem::path> config_file() const;
  // The values of --repository.
  const std::vector<std::string>& repositories() const noexcept { return repositories_; }

 private:
  config::Configuration& configuration_;
  OptionSpec* config_ = nullptr;
  std::vector<std::string> repositories_;
  // Indices of settings, as references would not survive their list's growth.
  std::vector<std::pair<std::size_t, OptionSpec*>> options_;
};

}  // namespace nixbuild::cli
