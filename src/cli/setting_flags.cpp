#include "cli/setting_flags.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "common/base/error.hpp"
#include "common/config/load.hpp"

namespace nixbuild::cli {
namespace {

// The default without TOML's quotes and outer brackets; empty where there is nothing to show.
std::string default_of(const config::Setting& setting) {
  if (setting.kind == config::Kind::boolean) return {};
  std::string shown = setting.show();
  if (setting.kind == config::Kind::text_list) shown = shown.substr(1, shown.size() - 2);
  std::erase(shown, '"');
  return shown;
}

std::string help_of(const config::Setting& setting) {
  const std::string value = default_of(setting);
  return value.empty() ? setting.help : fmt::format("{} (default: {})", setting.help, value);
}

}  // namespace

SettingFlags::SettingFlags(CLI::App& app, config::Settings& settings) : settings_(settings) {
  config_ = app.add_option("--config",
                           "Read this configuration file and no other (default: "
                           "/etc/nixbuild/config.toml, then "
                           "~/.config/nixbuild/config.toml)");
  config_->type_name("FILE")->expected(1);
  for (const config::Setting& setting : settings.all()) {
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
    option->description(help_of(setting));
    options_.push_back(option);
  }
}

void SettingFlags::load() {
  std::optional<std::filesystem::path> explicit_file;
  if (config_->count() > 0) explicit_file = config_->results().front();
  for (const auto& file : config::config_files(explicit_file, config::process_environment)) {
    config::load_file(settings_, file);
  }
  config::load_environment(settings_, config::process_environment);

  for (std::size_t i = 0; i < options_.size(); ++i) {
    if (options_[i]->count() == 0) continue;
    config::Setting& setting = settings_.all()[i];
    try {
      setting.assign(options_[i]->results());
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", setting.flag(), error.what()));
    }
    setting.origin = setting.flag();
  }
}

}  // namespace nixbuild::cli
