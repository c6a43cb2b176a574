#include "server/builder/evaluation_result.hpp"

#include <array>
#include <charconv>
#include <utility>

namespace nixbuild::builder {
namespace {

using Kind = Found::Kind;

constexpr std::array<std::pair<std::string_view, Kind>, 7> kinds = {{
    {"derivation", Kind::derivation},
    {"empty home", Kind::empty_home},
    {"alone", Kind::alone},
    {"listed", Kind::listed},
    {"refused", Kind::refused},
    {"ignored", Kind::ignored},
    {"home", Kind::home},
}};
// Kind, root, and two that depend on the kind, followed by the path.
constexpr std::size_t fields_before_path = 4;

// Parses and removes a decimal number at the beginning of `text`.
std::optional<std::size_t> take_number(std::string_view& text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

std::optional<Found> parse_record(std::string_view text) {
  const auto fields = split_netstrings(text);
  if (!fields || fields->size() < fields_before_path) return std::nullopt;
  Found found;
  bool is_known = false;
  for (const auto& [name, kind] : kinds) {
    if ((*fields)[0] != name) continue;
    found.kind = kind;
    is_known = true;
  }
  std::string_view number = (*fields)[1];
  const auto root = take_number(number);
  if (!is_known || !root || !number.empty()) return std::nullopt;
  found.root = *root;
  const std::string_view first = (*fields)[2];
  const std::string_view second = (*fields)[3];
  if (found.kind == Kind::derivation || found.kind == Kind::empty_home) {
    found.derivation = first;
    found.system = second;
  } else if (found.kind == Kind::home) {
    found.has_home_modules = first == "true";
    found.has_home_manager = second == "true";
  } else {
    found.reason = first;
  }
  found.path.assign(fields->begin() + fields_before_path, fields->end());
  return found;
}

}  // namespace

std::optional<std::vector<std::string_view>> split_netstrings(std::string_view text) {
  std::vector<std::string_view> result;
  while (!text.empty()) {
    const auto length = take_number(text);
    if (!length || !text.starts_with(':') || text.size() - 1 < *length) return std::nullopt;
    result.push_back(text.substr(1, *length));
    text.remove_prefix(1 + *length);
  }
  return result;
}

std::optional<std::vector<Found>> parse_evaluation_result(std::string_view text) {
  const auto records = split_netstrings(text);
  if (!records) return std::nullopt;
  std::vector<Found> result;
  for (const std::string_view record : *records) {
    auto found = parse_record(record);
    if (!found) return std::nullopt;
    result.push_back(std::move(*found));
  }
  return result;
}

}  // namespace nixbuild::builder
