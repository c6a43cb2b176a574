#include "common/config/setting.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>

#include "common/base/error.hpp"

namespace nixbuild::config {
namespace {

// As a TOML basic string.
std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string toml_list(const std::vector<std::string>& values) {
  std::vector<std::string> parts;
  parts.reserve(values.size());
  for (const std::string& value : values)
    parts.push_back(toml_string(value));
  return fmt::format("[{}]", fmt::join(parts, ", "));
}

std::int64_t parse_integer(const std::string& text, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc() || rest != end || value < least || value > most) {
    throw UsageError(
        fmt::format("'{}': a whole number from {} to {} was expected", text, least, most));
  }
  return value;
}

bool parse_boolean(const std::string& text) {
  if (text == "true" || text == "1" || text == "yes") return true;
  if (text == "false" || text == "0" || text == "no") return false;
  throw UsageError(fmt::format("'{}': true or false was expected", text));
}

constexpr std::array<std::pair<char, unsigned>, 4> size_suffixes = {
    {{'T', 40}, {'G', 30}, {'M', 20}, {'K', 10}}};

}  // namespace

std::string Setting::flag() const {
  std::string out = "--" + key;
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

std::string Setting::environment() const {
  std::string out = "NIXBUILD_" + (table.empty() ? key : table + '_' + key);
  for (char& c : out)
    c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

std::string Setting::full_key() const {
  return table.empty() ? key : table + '.' + key;
}

Settings& Settings::table(std::string name) {
  table_ = std::move(name);
  return *this;
}

Settings& Settings::push(std::string key, Kind kind, std::string value_name, std::string help,
                         std::function<void(const std::vector<std::string>&)> assign,
                         std::function<std::string()> show) {
  Setting setting;
  setting.table = table_;
  setting.key = std::move(key);
  setting.kind = kind;
  setting.value_name = std::move(value_name);
  setting.help = std::move(help);
  setting.assign = std::move(assign);
  setting.show = std::move(show);
  settings_.push_back(std::move(setting));
  return *this;
}

Settings& Settings::add(std::string key, std::string& field, std::string value_name,
                        std::string help) {
  return push(
      std::move(key), Kind::text, std::move(value_name), std::move(help),
      [&field](const auto& values) { field = values.front(); },
      [&field] { return toml_string(field); });
}

Settings& Settings::add(std::string key, std::filesystem::path& field, std::string value_name,
                        std::string help) {
  return push(
      std::move(key), Kind::text, std::move(value_name), std::move(help),
      [&field](const auto& values) { field = values.front(); },
      [&field] { return toml_string(field.string()); });
}

Settings& Settings::add(std::string key, bool& field, std::string help) {
  return push(
      std::move(key), Kind::boolean, "", std::move(help),
      [&field](const auto& values) { field = parse_boolean(values.front()); },
      [&field] { return field ? "true" : "false"; });
}

Settings& Settings::add(std::string key, std::vector<std::string>& field, std::string value_name,
                        std::string help) {
  return push(
      std::move(key), Kind::text_list, std::move(value_name), std::move(help),
      [&field](const auto& values) { field = values; }, [&field] { return toml_list(field); });
}

Settings& Settings::add(std::string key, std::vector<std::filesystem::path>& field,
                        std::string value_name, std::string help) {
  return push(
      std::move(key), Kind::text_list, std::move(value_name), std::move(help),
      [&field](const auto& values) { field.assign(values.begin(), values.end()); },
      [&field] {
        std::vector<std::string> texts;
        texts.reserve(field.size());
        for (const auto& path : field)
          texts.push_back(path.string());
        return toml_list(texts);
      });
}

Settings& Settings::add(std::string key, int& field, int least, int most, std::string help) {
  return push(
      std::move(key), Kind::integer, "N", std::move(help),
      [&field, least, most](const auto& values) {
        field = static_cast<int>(parse_integer(values.front(), least, most));
      },
      [&field] { return fmt::format("{}", field); });
}

Settings& Settings::add(std::string key, unsigned& field, unsigned least, unsigned most,
                        std::string help) {
  return push(
      std::move(key), Kind::integer, "N", std::move(help),
      [&field, least, most](const auto& values) {
        field = static_cast<unsigned>(parse_integer(values.front(), least, most));
      },
      [&field] { return fmt::format("{}", field); });
}

Settings& Settings::add(std::string key, std::optional<int>& field, int least, int most,
                        std::string help) {
  return push(
      std::move(key), Kind::integer, "N", std::move(help),
      [&field, least, most](const auto& values) {
        field = static_cast<int>(parse_integer(values.front(), least, most));
      },
      [&field] { return field ? fmt::format("{}", *field) : std::string(); });
}

Settings& Settings::add_size(std::string key, std::uint64_t& field, std::string help) {
  return push(
      std::move(key), Kind::size, "SIZE", std::move(help),
      [&field](const auto& values) { field = parse_size(values.front()); },
      [&field] { return toml_string(format_size(field)); });
}

Settings& Settings::add_word(std::string key, std::vector<std::string> words, std::string help,
                             std::function<void(std::size_t)> assign,
                             std::function<std::size_t()> show) {
  std::string value_name = fmt::format("{}", fmt::join(words, "|"));
  return push(
      std::move(key), Kind::text, std::move(value_name), std::move(help),
      [words, assign = std::move(assign)](const auto& values) {
        const auto found = std::find(words.begin(), words.end(), values.front());
        if (found == words.end()) {
          throw UsageError(
              fmt::format("'{}': one of {} was expected", values.front(), fmt::join(words, ", ")));
        }
        assign(static_cast<std::size_t>(found - words.begin()));
      },
      [words, show = std::move(show)] { return toml_string(words[show()]); });
}

Setting* Settings::find(std::string_view table, std::string_view key) noexcept {
  const auto found = std::find_if(settings_.begin(), settings_.end(), [&](const Setting& s) {
    return s.table == table && s.key == key;
  });
  return found == settings_.end() ? nullptr : &*found;
}

bool Settings::has_table(std::string_view table) const noexcept {
  return std::any_of(settings_.begin(), settings_.end(),
                     [&](const Setting& s) { return s.table == table; });
}

std::uint64_t parse_size(std::string_view text) {
  std::string_view digits = text;
  unsigned shift = 0;
  if (!digits.empty()) {
    for (const auto& [suffix, bits] : size_suffixes) {
      if (digits.back() == suffix) {
        shift = bits;
        digits.remove_suffix(1);
        break;
      }
    }
  }
  std::uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, value);
  if (digits.empty() || error != std::errc() || rest != end ||
      value > (std::numeric_limits<std::uint64_t>::max() >> shift)) {
    throw UsageError(
        fmt::format("'{}': a number of bytes such as 20G, 512M or 4096 was expected", text));
  }
  return value << shift;
}

std::string format_size(std::uint64_t bytes) {
  for (const auto& [suffix, bits] : size_suffixes) {
    const std::uint64_t unit = std::uint64_t{1} << bits;
    if (bytes != 0 && bytes % unit == 0) return fmt::format("{}{}", bytes / unit, suffix);
  }
  return fmt::format("{}", bytes);
}

}  // namespace nixbuild::config
