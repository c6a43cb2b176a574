// Settings of the program, each defined once.
//
// A setting has a table and a key ("cache", "nar_cache_size"). They determine its place in the
// configuration file (`nar_cache_size` in `[cache]`), its environment variable
// (NIXBUILD_CACHE_NAR_CACHE_SIZE) and its flag (--nar-cache-size). It is bound to a field of an
// options struct, which holds the default before loading and the effective value afterwards.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nixbuild::config {

enum class Kind : std::uint8_t { text, text_list, integer, size, boolean };

struct Setting {
  std::string table;  // empty: the file's top level
  std::string key;
  Kind kind = Kind::text;
  std::string value_name;  // what --help calls the value: "FILE", "N", …
  std::string help;
  // Sets the field from text. Lists get all their elements, other kinds exactly one. Throws
  // UsageError saying what was expected, but not where the text came from.
  std::function<void(const std::vector<std::string>& values)> assign;
  // The field as a configuration file would have it.
  std::function<std::string()> show;
  // Where the value came from: "default", "FILE:LINE", an environment variable, a flag.
  std::string origin = "default";

  std::string short_environment;  // an additional variable with lower precedence; empty: none

  std::string flag() const;         // "--nar-cache-size"
  std::string environment() const;  // "NIXBUILD_CACHE_NAR_CACHE_SIZE"
  std::string full_key() const;     // "cache.nar_cache_size", "state_dir"
  // Prefix of messages about the value: its variable or flag, or the place in a file and the key,
  // "FILE:LINE: cache.nar_cache_size".
  std::string told_by() const;
};

// The settings of one command or of the whole program, bound to fields that outlive it.
class Settings {
 public:
  // Opens a table for the settings that are added next.
  Settings& table(std::string name);

  Settings& add(std::string key, std::string& field, std::string value_name, std::string help);
  Settings& add(std::string key, std::filesystem::path& field, std::string value_name,
                std::string help);
  Settings& add(std::string key, bool& field, std::string help);
  Settings& add(std::string key, std::vector<std::string>& field, std::string value_name,
                std::string help);
  Settings& add(std::string key, std::vector<std::filesystem::path>& field, std::string value_name,
                std::string help);
  // Whole numbers from `least` to `most`.
  Settings& add(std::string key, int& field, int least, int most, std::string help);
  Settings& add(std::string key, unsigned& field, unsigned least, unsigned most, std::string help);
  Settings& add(std::string key, std::optional<int>& field, int least, int most, std::string help);
  // Bytes: a whole number, optionally with K, M, G or T for powers of 1024.
  Settings& add_size(std::string key, std::uint64_t& field, std::string help);
  // Whole seconds, optionally with s, m, h or d, and sums of them: "2h", "1h30m".
  Settings& add_duration(std::string key, std::chrono::seconds& field, std::string help);
  Settings& add(std::string key, std::optional<std::string>& field, std::string value_name,
                std::string help);
  // One of a few words.
  template <typename Enum>
  Settings& add_choice(std::string key, Enum& field,
                       std::vector<std::pair<std::string, Enum>> choices, std::string help) {
    std::vector<std::string> words;
    for (const auto& choice : choices)
      words.push_back(choice.first);
    return add_word(
        std::move(key), std::move(words), std::move(help),
        [&field, choices](std::size_t index) { field = choices[index].second; },
        [&field, choices] {
          std::size_t index = 0;
          while (choices[index].second != field)
            ++index;
          return index;
        });
  }

  // A list of tables, `[[name]]` in a file. Each element has a key `name`. `element` returns the
  // settings for a name, the same for the same name, so that later files are merged into earlier
  // ones. It throws UsageError for an invalid name.
  using Element = std::function<Settings&(const std::string& name)>;
  Settings& add_list_of_tables(std::string name, Element element);
  const Element* find_list_of_tables(std::string_view name) const noexcept;

  // Checks values of the setting added last: `check` throws UsageError to reject one.
  Settings& checked(std::function<void(const std::string& text)> check);

  // An additional environment variable for the setting added last.
  Settings& also_from(std::string variable);

  std::vector<Setting>& all() noexcept { return settings_; }
  const std::vector<Setting>& all() const noexcept { return settings_; }
  Setting* find(std::string_view table, std::string_view key) noexcept;
  const Setting* find(std::string_view table, std::string_view key) const noexcept;
  bool has_table(std::string_view table) const noexcept;

 private:
  Settings& add_word(std::string key, std::vector<std::string> words, std::string help,
                     std::function<void(std::size_t)> assign, std::function<std::size_t()> show);
  Settings& push(std::string key, Kind kind, std::string value_name, std::string help,
                 std::function<void(const std::vector<std::string>&)> assign,
                 std::function<std::string()> show);

  std::string table_;
  std::vector<Setting> settings_;
  std::vector<std::pair<std::string, Element>> lists_of_tables_;
};

// The text as a TOML basic string, including quotes. Source: TOML 1.0, "String".
std::string toml_string(std::string_view text);

// Throws UsageError unless the text is a public key, NAME:BASE64. The message does not contain the
// text, which may be a secret key.
void check_public_key(const std::string& text);

// Bytes from "20G", "512M", "4096". Throws UsageError.
std::uint64_t parse_size(std::string_view text);
// The shortest exact form that parse_size reads.
std::string format_size(std::uint64_t bytes);

// From "2h", "1h30m", "45s". Throws UsageError.
std::chrono::seconds parse_duration(std::string_view text);
// The shortest form that parse_duration reads.
std::string format_duration(std::chrono::seconds duration);

}  // namespace nixbuild::config
