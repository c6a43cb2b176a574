#include "common/protocol/json.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <vector>

#include "common/base/error.hpp"
#include "common/base/time.hpp"
#include "common/protocol/fields.hpp"
#include "common/protocol/type_list.hpp"

namespace nixbuild::protocol {
namespace {

using Json = nlohmann::ordered_json;

template <typename T>
constexpr bool is_vector = false;
template <typename T>
constexpr bool is_vector<std::vector<T>> = true;
template <typename T>
constexpr bool is_optional = false;
template <typename T>
constexpr bool is_optional<std::optional<T>> = true;
template <typename T>
constexpr bool is_optional<Added<T>> = true;

template <typename T>
Json make(const T& value) {
  if constexpr (is_optional<T>) {
    return value ? make(*value) : Json(nullptr);
  } else if constexpr (is_vector<T>) {
    Json array = Json::array();
    for (const auto& element : value)
      array.push_back(make(element));
    return array;
  } else if constexpr (std::is_same_v<T, Time>) {
    return format_time(value);
  } else if constexpr (std::is_enum_v<T>) {
    return name_of(value);
  } else if constexpr (std::is_class_v<T> && !std::is_same_v<T, std::string>) {
    Json object = Json::object();
    fields(
        [&object](const char* name, const auto& field, const char*, Words = {}) {
          if constexpr (is_added<std::remove_cvref_t<decltype(field)>>) {
            if (!field) return;
          }
          // Not object[name]: an ordered object compares it with all earlier fields.
          object.get_ref<Json::object_t&>().push_back({name, make(field)});
        },
        value);
    return object;
  } else {
    return value;
  }
}

std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// The reader's position in the document: "progress.running[2].since".
class Path {
 public:
  explicit Path(std::string_view type) : type_(type) {}

  std::size_t enter(std::string_view field) {
    const std::size_t before = text_.size();
    if (!text_.empty()) text_ += '.';
    text_ += field;
    return before;
  }
  std::size_t enter(std::size_t index) {
    const std::size_t before = text_.size();
    text_ += fmt::format("[{}]", index);
    return before;
  }
  void leave(std::size_t before) { text_.resize(before); }

  [[noreturn]] void fail(std::string_view what) const {
    if (text_.empty()) throw FormatError(fmt::format("{}: {}", type_, what));
    throw FormatError(fmt::format("{}: field '{}': {}", type_, text_, what));
  }

 private:
  std::string_view type_;
  std::string text_;
};

template <typename T>
T read_integer(const Json& json, const Path& path) {
  if (json.is_number_unsigned()) {
    const auto value = json.get<std::uint64_t>();
    if (value <= static_cast<std::uint64_t>(std::numeric_limits<T>::max())) {
      return static_cast<T>(value);
    }
  } else if (json.is_number_integer()) {
    const auto value = json.get<std::int64_t>();
    if (std::is_signed_v<T> && value >= static_cast<std::int64_t>(std::numeric_limits<T>::min())) {
      return static_cast<T>(value);
    }
  }
  path.fail(fmt::format("a whole number from {} to {} was expected", std::numeric_limits<T>::min(),
                        std::numeric_limits<T>::max()));
}

template <typename T>
void read(const Json& json, T& value, Path& path) {
  if constexpr (is_optional<T>) {
    if (json.is_null()) {
      value.reset();
    } else {
      read(json, value.emplace(), path);
    }
  } else if constexpr (is_vector<T>) {
    if (!json.is_array()) path.fail("a list was expected");
    value.clear();
    value.reserve(json.size());
    for (const Json& element : json) {
      const std::size_t before = path.enter(value.size());
      read(element, value.emplace_back(), path);
      path.leave(before);
    }
  } else if constexpr (std::is_same_v<T, Time>) {
    const auto time =
        json.is_string() ? parse_time(json.get_ref<const std::string&>()) : std::optional<Time>();
    if (!time) path.fail("a time such as 2025-01-15T14:30:00Z was expected");
    value = *time;
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (!json.is_string()) path.fail("a string was expected");
    value = json.get_ref<const std::string&>();
  } else if constexpr (std::is_enum_v<T>) {
    if (!json.is_string()) path.fail("a string was expected");
    value = value_of<T>(json.get_ref<const std::string&>());
  } else if constexpr (std::is_same_v<T, bool>) {
    if (!json.is_boolean()) path.fail("true or false was expected");
    value = json.get<bool>();
  } else if constexpr (std::is_integral_v<T>) {
    value = read_integer<T>(json, path);
  } else {
    if (!json.is_object()) path.fail("an object was expected");
    fields(
        [&](const char* name, auto& field, const char*, Words = {}) {
          const std::size_t before = path.enter(name);
          const auto found = json.find(name);
          if (found != json.end()) {
            read(*found, field, path);
          } else if constexpr (is_optional<std::remove_reference_t<decltype(field)>>) {
            field.reset();
          } else {
            path.fail("it is missing");
          }
          path.leave(before);
        },
        value);
  }
}

}  // namespace

template <typename T>
std::string to_json(const T& value, int indent) {
  return dump(make(value), indent);
}

std::string json_string(std::string_view text) {
  return dump(Json(text), -1);
}

std::string to_json_brief(const BuildStatus& status, int indent) {
  constexpr std::size_t brief_fields = 5;
  Json json = make(status);
  auto& members = json.get_ref<Json::object_t&>();
  members.erase(members.begin() + brief_fields, members.end());
  return dump(json, indent);
}

template <typename T>
T from_json(std::string_view text) {
  Path path(type_name<T>());
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) path.fail("this is not JSON, or not all of it");
  T value;
  read(json, value, path);
  return value;
}

#define NIXBUILD_INSTANTIATE(Type)                \
  template std::string to_json(const Type&, int); \
  template Type from_json<Type>(std::string_view);
NIXBUILD_PROTOCOL_TYPES(NIXBUILD_INSTANTIATE)
#undef NIXBUILD_INSTANTIATE

}  // namespace nixbuild::protocol
