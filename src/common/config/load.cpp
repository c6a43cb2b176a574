#include "common/config/load.hpp"

#include <fmt/format.h>

#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <cstdlib>
#include <string_view>

#include "common/base/error.hpp"
#include "common/base/files.hpp"

namespace nixbuild::config {
namespace {

std::string_view expected(Kind kind) {
  switch (kind) {
    case Kind::text:
      return "a string";
    case Kind::text_list:
      return "a list of strings";
    case Kind::integer:
      return "a whole number";
    case Kind::size:
      return "a whole number of bytes or a string such as \"20G\"";
    case Kind::boolean:
      return "true or false";
  }
  return "";
}

// The value as the texts that Setting::assign takes; nothing when it is of another type.
std::optional<std::vector<std::string>> texts_of(const toml::node& node, Kind kind) {
  const auto text = node.value_exact<std::string>();
  const auto integer = node.value_exact<std::int64_t>();
  switch (kind) {
    case Kind::text:
      if (text) return std::vector{*text};
      break;
    case Kind::integer:
      if (integer) return std::vector{fmt::format("{}", *integer)};
      break;
    case Kind::size:
      if (text) return std::vector{*text};
      if (integer) return std::vector{fmt::format("{}", *integer)};
      break;
    case Kind::boolean:
      if (const auto value = node.value_exact<bool>()) {
        return std::vector<std::string>{*value ? "true" : "false"};
      }
      break;
    case Kind::text_list:
      if (const toml::array* array = node.as_array()) {
        std::vector<std::string> texts;
        for (const toml::node& element : *array) {
          const auto value = element.value_exact<std::string>();
          if (!value) return std::nullopt;
          texts.push_back(*value);
        }
        return texts;
      }
      break;
  }
  return std::nullopt;
}

class FileLoader {
 public:
  FileLoader(Settings& settings, const std::filesystem::path& path)
      : settings_(settings), path_(path) {}

  void load(const toml::table& root) {
    for (const auto& [key, node] : root) {
      const toml::table* table = node.as_table();
      if (table != nullptr && settings_.has_table(key.str())) {
        for (const auto& [inner_key, inner] : *table)
          assign(key.str(), inner_key, inner);
      } else if (table != nullptr) {
        throw UsageError(fmt::format("{}: [{}]: no such table", at(key.source()), key.str()));
      } else {
        assign("", key, node);
      }
    }
  }

 private:
  std::string at(const toml::source_region& source) const {
    return fmt::format("{}:{}", path_.string(), source.begin.line);
  }

  void assign(std::string_view table, const toml::key& key, const toml::node& node) {
    Setting* setting = settings_.find(table, key.str());
    if (setting == nullptr) {
      throw UsageError(fmt::format("{}: {}{}{}: no such setting", at(key.source()), table,
                                   table.empty() ? "" : ".", key.str()));
    }
    const auto texts = texts_of(node, setting->kind);
    if (!texts) {
      throw UsageError(fmt::format("{}: {}: {} was expected", at(node.source()),
                                   setting->full_key(), expected(setting->kind)));
    }
    try {
      setting->assign(*texts);
    } catch (const UsageError& error) {
      throw UsageError(
          fmt::format("{}: {}: {}", at(node.source()), setting->full_key(), error.what()));
    }
    setting->origin = at(node.source());
  }

  Settings& settings_;
  const std::filesystem::path& path_;
};

std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    if (comma != 0) parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return parts;
}

}  // namespace

std::optional<std::string> process_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::vector<ConfigFile> config_files(const std::optional<std::filesystem::path>& explicit_file,
                                     const Environment& environment) {
  if (explicit_file) return {{*explicit_file, true}};
  if (const auto named = environment("NIXBUILD_CONFIG")) return {{*named, true}};
  std::vector<ConfigFile> files = {{"/etc/nixbuild/config.toml", false}};
  if (const auto config_home = environment("XDG_CONFIG_HOME")) {
    files.push_back({std::filesystem::path(*config_home) / "nixbuild/config.toml", false});
  } else if (const auto home = environment("HOME")) {
    files.push_back({std::filesystem::path(*home) / ".config/nixbuild/config.toml", false});
  }
  return files;
}

void load_file(Settings& settings, const ConfigFile& file) {
  std::optional<std::string> content;
  try {
    content = read_file(file.path);
  } catch (const Error& error) {
    throw UsageError(fmt::format("configuration: {}", error.what()));
  }
  if (!content) {
    if (file.must_exist) {
      throw UsageError(fmt::format("configuration: {}: no such file", file.path.string()));
    }
    return;
  }
  toml::table root;
  try {
    root = toml::parse(*content, file.path.string());
  } catch (const toml::parse_error& error) {
    throw UsageError(fmt::format("{}:{}: {}", file.path.string(), error.source().begin.line,
                                 error.description()));
  }
  FileLoader(settings, file.path).load(root);
}

void load_environment(Settings& settings, const Environment& environment) {
  for (Setting& setting : settings.all()) {
    const std::string name = setting.environment();
    const auto value = environment(name);
    if (!value) continue;
    try {
      setting.assign(setting.kind == Kind::text_list ? split_at_commas(*value)
                                                     : std::vector{*value});
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", name, error.what()));
    }
    setting.origin = name;
  }
}

}  // namespace nixbuild::config
