// Turns settings into flags of a command, and reads the sources of settings in order.
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

// A setting's description, with `addition` appended, and its default if it has one.
std::string help_of(const config::Setting& setting, std::string_view addition = {});

class SettingFlags {
 public:
  // Adds --config, and a flag for each chosen setting: a table ("cache"; "" is the file's top
  // level) or one key ("state_dir"). Both `command` and `configuration` must outlive this object.
  SettingFlags(CommandSpec& command, config::Configuration& configuration,
               const std::vector<std::string_view>& chosen);

  // Adds --repository, which configures a repository like [[repository]] in a file.
  void add_repository_flag(CommandSpec& command);

  // To be called once the command line has been parsed: reads configuration files, then the
  // environment, then flags. Throws UsageError.
  void load() { load_into(configuration_); }
  // The same for a new configuration, so that settings removed from a file return to their
  // defaults.
  void load_into(config::Configuration& configuration) const;
  // The message that no repository is configured, and where to add one.
  std::string no_repository() const;
  // The value of --config, if given.
  std::optional<std::filesystem::path> config_file() const;
  // The values of --repository.
  const std::vector<std::string>& repositories() const noexcept { return repositories_; }

 private:
  config::Configuration& configuration_;
  OptionSpec* config_ = nullptr;
  std::vector<std::string> repositories_;
  // Indices of settings, as their list's growth would invalidate references.
  std::vector<std::pair<std::size_t, OptionSpec*>> options_;
};

}  // namespace nixbuild::cli
