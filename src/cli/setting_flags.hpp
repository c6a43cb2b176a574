// Settings as flags of a command, and the order in which the sources of settings are read.
#pragma once

#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "common/config/setting.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace nixbuild::cli {

class SettingFlags {
 public:
  // Adds a flag for each setting, and --config. `settings` must outlive the parsing of `app`.
  SettingFlags(CLI::App& app, config::Settings& settings);

  // To be called once the command line has been read: configuration files, then environment, then
  // flags. Throws UsageError.
  void load();

 private:
  config::Settings& settings_;
  CLI::Option* config_ = nullptr;
  std::vector<CLI::Option*> options_;  // one for each setting, in their order
};

}  // namespace nixbuild::cli
