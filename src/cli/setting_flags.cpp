#include "cli/setting_flags.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "common/base/error.hpp"
#include "common/config/problems.hpp"

namespace nixbuild::cli {
namespace {

// The default without TOML's quotes and outer brackets; empty if there is nothing to show.
std::string default_of(const config::Setting& setting) {
  std::string shown = setting.show();
  if (setting.kind == config::Kind::text_list) shown = shown.substr(1, shown.size() - 2);
  std::erase(shown, '"');
  return shown;
}

// A flag is given once for each element of a list, and omitted for false.
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

SettingFlags::SettingFlags(CommandSpec& command, config::Configuration& configuration,
                           const std::vector<std::string_view>& chosen)
    : configuration_(configuration) {
  config_ = &command.unbound("--config FILE",
                             "Read only this configuration file (default: "
                             "/etc/nixbuild/config.toml, then ~/.config/nixbuild/config.toml)");
  const std::vector<config::Setting>& settings = configuration.settings.all();
  for (std::size_t i = 0; i < settings.size(); ++i) {
    const config::Setting& setting = settings[i];
    const bool is_chosen = std::any_of(chosen.begin(), chosen.end(), [&](std::string_view name) {
      return name == setting.table || name == setting.full_key();
    });
    if (!is_chosen) continue;
    std::string names = setting.flag();
    if (setting.kind != config::Kind::boolean) names += ' ' + setting.value_name;
    OptionSpec& option = command.unbound(names, help_of_flag(setting));
    option.is_repeatable = setting.kind == config::Kind::text_list;
    options_.emplace_back(i, &option);
  }
}

void SettingFlags::add_repository_flag(CommandSpec& command) {
  command.option("--repository NAME=URL", repositories_,
                 "Configure a repository: NAME=URL or NAME=URL#BRANCH; repeatable");
}

std::optional<std::filesystem::path> SettingFlags::config_file() const {
  if (!config_->is_given()) return std::nullopt;
  return config_->values.back();
}

std::string SettingFlags::no_repository() const {
  std::string files;
  for (const config::ConfigFile& file :
       config::config_files(config_file(), config::process_environment)) {
    files += (files.empty() ? "" : " or ") + file.path.string();
  }
  return fmt::format(
      "no repository is configured; add a [[repository]] with name and url to {} (`nixbuild config "
      "--help` shows one), or pass --repository NAME=URL",
      files);
}

void SettingFlags::load_into(config::Configuration& configuration) const {
  config::Problems problems;
  problems.attempt([&] { configuration.load(config_file(), config::process_environment); });
  for (const auto& [index, option] : options_) {
    if (!option->is_given()) continue;
    config::Setting& setting = configuration.settings.all()[index];
    problems.attempt([&setting, &values = option->values] {
      try {
        setting.assign(values);
      } catch (const UsageError& error) {
        throw UsageError(fmt::format("{}: {}", setting.flag(), error.what()));
      }
      setting.origin = setting.flag();
    });
  }
  for (const std::string& repository : repositories_)
    problems.attempt([&] { configuration.repositories.add_flag(repository); });
  problems.attempt([&] { configuration.check(); });
  problems.throw_if_any();
}

}  // namespace nixbuild::cli
