#include "cli/setting_flags.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>

#include "common/base/error.hpp"

namespace nixbuild::cli {
namespace {

// The default without TOML's quotes and outer brackets; empty where there is nothing to show.
std::string default_of(const config::Setting& setting) {
  std::string shown = setting.show();
  if (setting.kind == config::Kind::text_list) shown = shown.substr(1, shown.size() - 2);
  std::erase(shown, '"');
  return shown;
}

// A flag is given once for each element of a list, or not at all for false.
std::string help_of_flag(const config::Setting& setting) {
  if (setting.kind == config::Kind::boolean) return setting.help;
  return help_of(setting, setting.kind == config::Kind::text_list ? "; repeatable" : "");
}

}  // namespace

std::string help_of(const config::Setting& setting, std::string_view addition) {
  const std::string value = default_of(setting);
  return fmt::format("{}{}{}", setting.help, addition,
                     value.empty() ? "" : fmt::format(" (default: {})", value));
}

SettingFlags::SettingFlags(CLI::App& app, config::Configuration& configuration,
                           const std::vector<std::string_view>& chosen)
    : configuration_(configuration) {
  config_ = app.add_option("--config",
                           "Read this configuration file and no other (default: "
                           "/etc/nixbuild/config.toml, then "
                           "~/.config/nixbuild/config.toml)");
  config_->type_name("FILE")->expected(1);
  const std::vector<config::Setting>& settings = configuration.settings.all();
  for (std::size_t i = 0; i < settings.size(); ++i) {
    const config::Setting& setting = settings[i];
    const bool is_chosen = std::any_of(chosen.begin(), chosen.end(), [&](std::string_view name) {
      return name == setting.table || name == setting.full_key();
    });
    if (!is_chosen) continue;
    CLI::Option* option = nullptr;
    if (setting.kind == config::Kind::boolean) {
      option = app.add_flag(setting.flag());
    } else {
      option = app.add_option(setting.flag());
      option->type_name(setting.value_name)->expected(1);
      if (setting.kind == config::Kind::text_list) {
        option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
      }
    }
    option->description(help_of_flag(setting));
    options_.emplace_back(i, option);
  }
}

void SettingFlags::add_repository_flag(CLI::App& app) {
  app.add_option("--repository", repositories_,
                 "Configure a repository: NAME=URL or NAME=URL#BRANCH; repeatable")
      ->type_name("NAME=URL")
      ->expected(1)
      ->allow_extra_args(false)  // what follows its value is something else
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

std::optional<std::filesystem::path> SettingFlags::config_file() const {
  if (config_->count() == 0) return std::nullopt;
  return config_->results().front();
}

void SettingFlags::load_into(config::Configuration& configuration) const {
  configuration.load(config_file(), config::process_environment);
  for (const auto& [index, option] : options_) {
    if (option->count() == 0) continue;
    config::Setting& setting = configuration.settings.all()[index];
    try {
      setting.assign(option->results());
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", setting.flag(), error.what()));
    }
    setting.origin = setting.flag();
  }
  for (const std::string& repository : repositories_)
    configuration.repositories.add_flag(repository);
  configuration.check();
}

}  // namespace nixbuild::cli
