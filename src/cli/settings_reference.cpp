#include "cli/settings_reference.hpp"

#include <fmt/format.h>

#include <string_view>

#include "cli/command_line.hpp"
#include "cli/setting_flags.hpp"
#include "common/config/configuration.hpp"

namespace nixbuild::cli {
namespace {

// The form of the value in a file: "updated"|"committed", ["FILE", ...], N.
std::string form_of(const config::Setting& setting) {
  switch (setting.kind) {
    case config::Kind::text:
    case config::Kind::size: {
      std::string form;
      for (const char c : setting.value_name)
        form += c == '|' ? std::string("\"|\"") : std::string(1, c);
      return fmt::format("\"{}\"", form);
    }
    case config::Kind::text_list:
      return fmt::format("[\"{}\", ...]", setting.value_name);
    case config::Kind::integer:
      return setting.value_name;
    case config::Kind::boolean:
      return "true|false";
  }
  return {};
}

std::string entry(const config::Setting& setting) {
  return help_entry(fmt::format("{} = {}", setting.key, form_of(setting)), help_of(setting));
}

}  // namespace

std::string settings_reference() {
  const config::Configuration configuration;
  std::string out = "Keys above every table:\n";
  std::string table;
  for (const config::Setting& setting : configuration.settings.all()) {
    if (setting.table != table) out += fmt::format("\nKeys of [{}]:\n", setting.table);
    table = setting.table;
    out += entry(setting);
  }

  config::Repository repository;
  config::Settings settings;
  config::add_repository_settings(settings, repository);
  out += "\nKeys of [[repository]], a table for each repository:\n";
  out += help_entry("name = \"REPO\"",
                    "Name of the repository: 1 to 63 of a-z, 0-9, '.', '_', '-', beginning with a "
                    "letter or digit");
  for (const config::Setting& setting : settings.all())
    out += entry(setting);
  return out;
}

}  // namespace nixbuild::cli
