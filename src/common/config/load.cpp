#include "common/config/load.hpp"

#include <fmt/format.h>

#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/base/nearest.hpp"
#include "common/config/problems.hpp"

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

// The value as text for Setting::assign; nothing if it has another type.
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

  // Throws ConfigurationError with all problems, in the order of the lines.
  void load(const toml::table& root) {
    for (const auto& [key, node] : root) {
      const toml::table* table = node.as_table();
      if (const auto* element = settings_.find_list_of_tables(key.str())) {
        load_list(*element, key, node);
      } else if (table != nullptr && settings_.has_table(key.str())) {
        for (const auto& [inner_key, inner] : *table)
          assign(settings_, key.str(), inner_key, inner);
      } else if (table != nullptr) {
        complain(key.source(), fmt::format("[{}]: unknown table", key.str()));
      } else {
        assign(settings_, "", key, node);
      }
    }
    if (problems_.empty()) return;
    std::stable_sort(problems_.begin(), problems_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::string> lines;
    for (auto& [line, text] : problems_)
      lines.push_back(fmt::format("{}:{}: {}", path_.string(), line, text));
    throw ConfigurationError(std::move(lines));
  }

 private:
  void complain(const toml::source_region& source, std::string text) {
    problems_.emplace_back(source.begin.line, std::move(text));
  }

  void load_list(const Settings::Element& element, const toml::key& key, const toml::node& node) {
    const toml::array* array = node.as_array();
    if (array == nullptr || !array->is_homogeneous(toml::node_type::table)) {
      complain(key.source(), fmt::format("{}: write it as [[{}]]", key.str(), key.str()));
      return;
    }
    for (const toml::node& item : *array)
      load_element(element, key, *item.as_table());
  }

  void load_element(const Settings::Element& element, const toml::key& key,
                    const toml::table& table) {
    const toml::node* name = table.get("name");
    if (name == nullptr || !name->is_string()) {
      complain(name == nullptr ? table.source() : name->source(),
               fmt::format("[[{}]]: name is missing, or no string", key.str()));
      return;
    }
    Settings* settings = nullptr;
    try {
      settings = &element(*name->value<std::string>());
    } catch (const UsageError& error) {
      complain(name->source(), fmt::format("{}.name: {}", key.str(), error.what()));
      return;
    }
    for (const auto& [inner_key, inner] : table) {
      if (inner_key.str() != "name") assign(*settings, key.str(), inner_key, inner);
    }
  }

  void assign(Settings& settings, std::string_view table, const toml::key& key,
              const toml::node& node) {
    Setting* setting = settings.find(table, key.str());
    if (setting == nullptr) {
      complain(key.source(), unknown_key(settings, table, key.str()));
      return;
    }
    const auto texts = texts_of(node, setting->kind);
    if (!texts) {
      complain(node.source(),
               fmt::format("{}: {} was expected", setting->full_key(), expected(setting->kind)));
      return;
    }
    try {
      setting->assign(*texts);
    } catch (const UsageError& error) {
      complain(node.source(), fmt::format("{}: {}", setting->full_key(), error.what()));
      return;
    }
    setting->origin = fmt::format("{}:{}", path_.string(), node.source().begin.line);
  }

  static std::string unknown_key(const Settings& settings, std::string_view table,
                                 std::string_view key) {
    std::vector<std::string> known;
    for (const Setting& setting : settings.all()) {
      if (setting.table == table) known.push_back(setting.key);
    }
    const auto meant = nearest(key, known);
    return fmt::format("{}{}{}: unknown key{}", table, table.empty() ? "" : ".", key,
                       meant ? fmt::format("; did you mean '{}'?", *meant) : std::string());
  }

  Settings& settings_;
  const std::filesystem::path& path_;
  std::vector<std::pair<std::size_t, std::string>> problems_;  // with their lines
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
  Problems problems;
  for (Setting& setting : settings.all()) {
    std::string name = setting.environment();
    auto value = environment(name);
    if (!value && !setting.short_environment.empty()) {
      name = setting.short_environment;
      value = environment(name);
    }
    if (!value) continue;
    problems.attempt([&] {
      try {
        setting.assign(setting.kind == Kind::text_list ? split_at_commas(*value)
                                                       : std::vector{*value});
      } catch (const UsageError& error) {
        throw UsageError(fmt::format("{}: {}", name, error.what()));
      }
      setting.origin = name;
    });
  }
  problems.throw_if_any();
}

}  // namespace nixbuild::config
