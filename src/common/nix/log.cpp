#include "common/nix/log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace nixbuild::nix::log {
namespace {

using Json = nlohmann::json;

constexpr std::string_view prefix = "@nix ";

enum class ResultType : std::uint64_t {
  build_log_line = 101,
  set_phase = 104,
  progress = 105,
  set_expected = 106,
  post_build_log_line = 107,
};

std::uint64_t number(const Json& json) {
  if (json.is_number_unsigned()) return json.get<std::uint64_t>();
  // Nix counts in unsigned numbers; a negative one is from a counter that went below zero.
  return 0;
}

std::uint64_t number(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? 0 : number(*found);
}

std::string text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::vector<Field> fields_of(const Json& object) {
  std::vector<Field> fields;
  const auto found = object.find("fields");
  if (found == object.end() || !found->is_array()) return fields;
  for (const Json& field : *found) {
    if (field.is_string()) {
      fields.emplace_back(field.get<std::string>());
    } else {
      fields.emplace_back(number(field));
    }
  }
  return fields;
}

std::uint64_t number_at(const std::vector<Field>& fields, std::size_t position) {
  if (position >= fields.size()) return 0;
  const auto* value = std::get_if<std::uint64_t>(&fields[position]);
  return value == nullptr ? 0 : *value;
}

std::string text_at(const std::vector<Field>& fields, std::size_t position) {
  if (position >= fields.size()) return {};
  const auto* value = std::get_if<std::string>(&fields[position]);
  return value == nullptr ? std::string() : *value;
}

Event result_of(const Json& object) {
  const ActivityId id = number(object, "id");
  const std::uint64_t type = number(object, "type");
  const std::vector<Field> fields = fields_of(object);
  switch (static_cast<ResultType>(type)) {
    case ResultType::build_log_line:
    case ResultType::post_build_log_line:
      return BuildLogLine{id, text_at(fields, 0)};
    case ResultType::set_phase:
      return SetPhase{id, text_at(fields, 0)};
    case ResultType::progress:
      return Progress{id, number_at(fields, 0), number_at(fields, 1), number_at(fields, 2),
                      number_at(fields, 3)};
    case ResultType::set_expected:
      return SetExpected{id, static_cast<ActivityType>(number_at(fields, 0)), number_at(fields, 1)};
  }
  return OtherResult{id, type};
}

// How much to keep of a log line whose event is too long to be parsed.
constexpr std::size_t kept_of_long_line = 65536;

// The longest prefix of `escaped`, the inside of a JSON string, that is itself valid.
std::string_view whole_characters(std::string_view escaped) {
  std::size_t end = 0;
  while (end < escaped.size()) {
    std::size_t length = 1;
    const auto byte = static_cast<unsigned char>(escaped[end]);
    if (byte == '\\') {
      length = escaped.substr(end + 1).starts_with('u') ? 6 : 2;
    } else if (byte >= 0xc0) {
      length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    }
    if (end + length > escaped.size()) break;
    end += length;
  }
  return escaped.substr(0, end);
}

// An event whose middle is missing: if it is a builder's log line, its beginning is used. The text
// comes first and its quotes are escaped, so it cannot be mistaken for the fields that follow.
std::optional<Event> parse_shortened(std::string_view line) {
  constexpr std::string_view before = R"({"action":"result","fields":[")";
  constexpr std::string_view after = R"("],"id":)";
  const std::size_t end = line.rfind(after);
  if (!line.starts_with(before) || end == std::string_view::npos || end < before.size()) {
    return std::nullopt;
  }
  const Json rest =
      Json::parse("{" + std::string(line.substr(end + after.find(R"("id")"))), nullptr, false);
  if (!rest.is_object() ||
      number(rest, "type") != static_cast<std::uint64_t>(ResultType::build_log_line)) {
    return std::nullopt;
  }
  const std::string_view kept = whole_characters(
      line.substr(before.size(), std::min(kept_of_long_line, end - before.size())));
  const Json text = Json::parse(fmt::format("\"{}\"", kept), nullptr, false);
  return BuildLogLine{number(rest, "id"), text.is_string() ? text.get<std::string>() : ""};
}

}  // namespace

std::string_view Start::text_field(std::size_t position) const noexcept {
  if (position >= fields.size()) return {};
  const auto* value = std::get_if<std::string>(&fields[position]);
  return value == nullptr ? std::string_view() : std::string_view(*value);
}

std::optional<Event> parse_line(std::string_view line) {
  if (!line.starts_with(prefix)) return std::nullopt;
  line.remove_prefix(prefix.size());
  const Json object = Json::parse(line, nullptr, false);
  if (!object.is_object()) return parse_shortened(line);
  const std::string action = text(object, "action");
  if (action == "start") {
    return Start{number(object, "id"),
                 static_cast<ActivityType>(number(object, "type")),
                 static_cast<int>(std::min<std::uint64_t>(number(object, "level"), 7)),
                 text(object, "text"),
                 fields_of(object),
                 number(object, "parent")};
  }
  if (action == "stop") return Stop{number(object, "id")};
  if (action == "result") return result_of(object);
  if (action == "msg") {
    return Message{static_cast<int>(std::min<std::uint64_t>(number(object, "level"), 7)),
                   text(object, "msg")};
  }
  return std::nullopt;
}

}  // namespace nixbuild::nix::log
