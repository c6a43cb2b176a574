#include "common/config/setting.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>

#include "common/base/error.hpp"
#include "common/nix/keys.hpp"

namespace nixbuild::config {
namespace {

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

constexpr std::array<std::pair<char, std::int64_t>, 4> duration_suffixes = {
    {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}}};
constexpr std::int64_t longest_duration = std::int64_t{365} * 86400;

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

std::string Setting::told_by() const {
  const bool is_in_a_file = origin.find(':') != std::string::npos;
  return is_in_a_file ? fmt::format("{}: {}", origin, full_key()) : origin;
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

Settings& Settings::add(std::string key, std::optional<std::string>& field, std::string value_name,
                        std::string help) {
  return push(
      std::move(key), Kind::text, std::move(value_name), std::move(help),
      [&field](const auto& values) { field = values.front(); },
      [&field] { return field ? toml_string(*field) : std::string(); });
}

Settings& Settings::add_duration(std::string key, std::chrono::seconds& field, std::string help) {
  return push(
      std::move(key), Kind::text, "TIME", std::move(help),
      [&field](const auto& values) { field = parse_duration(values.front()); },
      [&field] { return toml_string(format_duration(field)); });
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

Settings& Settings::checked(std::function<void(const std::string&)> check) {
  auto& assign = settings_.back().assign;
  assign = [check = std::move(check), inner = std::move(assign)](const auto& values) {
    for (const std::string& value : values)
      check(value);
    inner(values);
  };
  return *this;
}

Settings& Settings::also_from(std::string variable) {
  settings_.back().short_environment = std::move(variable);
  return *this;
}

Settings& Settings::add_list_of_tables(std::string name, Element element) {
  lists_of_tables_.emplace_back(std::move(name), std::move(element));
  return *this;
}

const Settings::Element* Settings::find_list_of_tables(std::string_view name) const noexcept {
  for (const auto& [list, element] : lists_of_tables_) {
    if (list == name) return &element;
  }
  return nullptr;
}

const Setting* Settings::find(std::string_view table, std::string_view key) const noexcept {
  const auto found = std::find_if(settings_.begin(), settings_.end(), [&](const Setting& s) {
    return s.table == table && s.key == key;
  });
  return found == settings_.end() ? nullptr : &*found;
}

Setting* Settings::find(std::string_view table, std::string_view key) noexcept {
  return const_cast<Setting*>(std::as_const(*this).find(table, key));
}

bool Settings::has_table(std::string_view table) const noexcept {
  return std::any_of(settings_.begin(), settings_.end(),
                     [&](const Setting& s) { return s.table == table; });
}

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

void check_public_key(const std::string& text) {
  try {
    nix::PublicKey::parse(text);
  } catch (const FormatError& error) {
    throw UsageError(fmt::format("'{}': {}", text.substr(0, text.find(':')), error.what()));
  }
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

std::chrono::seconds parse_duration(std::string_view text) {
  const UsageError error(fmt::format("'{}': a time such as 2h, 1h30m or 45s was expected", text));
  if (text.empty()) throw error;
  std::int64_t total = 0;
  while (!text.empty()) {
    std::int64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [rest, failure] = std::from_chars(text.data(), end, number);
    if (failure != std::errc() || rest == end || number < 0 || number > longest_duration) {
      throw error;
    }
    const auto suffix = std::find_if(duration_suffixes.begin(), duration_suffixes.end(),
                                     [&](const auto& known) { return known.first == *rest; });
    if (suffix == duration_suffixes.end()) throw error;
    total += number * suffix->second;
    if (total > longest_duration) throw error;
    text.remove_prefix(static_cast<std::size_t>(rest - text.data()) + 1);
  }
  return std::chrono::seconds(total);
}

std::string format_duration(std::chrono::seconds duration) {
  std::int64_t rest = duration.count();
  if (rest == 0) return "0s";
  std::string out;
  for (const auto& [suffix, seconds] : duration_suffixes) {
    if (rest >= seconds) out += fmt::format("{}{}", rest / seconds, suffix);
    rest %= seconds;
  }
  return out;
}

}  // namespace nixbuild::config
