#include "common/nix/log.hpp"

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
  // Nix counts in unsigned numbers; a negative one is of a counter that ran below zero.
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
  if (!object.is_object()) return std::nullopt;
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
