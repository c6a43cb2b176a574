#include "common/protocol/schema.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <vector>

#include "common/protocol/fields.hpp"
#include "common/protocol/routes.hpp"
#include "common/protocol/type_list.hpp"

namespace nixbuild::protocol {
namespace {

using Json = nlohmann::ordered_json;

Json reference(std::string_view type) {
  return {{"$ref", fmt::format("#/components/schemas/{}", type)}};
}

Json with_choices(Json schema, Words choices) {
  schema["enum"] = Json::array();
  for (const std::string_view word : choices)
    schema["enum"].push_back(word);
  if (schema["type"].is_array()) schema["enum"].push_back(nullptr);
  return schema;
}

// The schema of a value of type T, by overload.
template <typename T>
struct SchemaOf {
  static Json make() {
    if constexpr (std::is_enum_v<T>) {
      return with_choices({{"type", "string"}}, names<T>);
    } else {
      return reference(type_name<T>());
    }
  }
};
template <>
struct SchemaOf<bool> {
  static Json make() { return {{"type", "boolean"}}; }
};
template <>
struct SchemaOf<std::string> {
  static Json make() { return {{"type", "string"}}; }
};
template <>
struct SchemaOf<Time> {
  static Json make() { return {{"type", "string"}, {"format", "date-time"}}; }
};
template <>
struct SchemaOf<std::int64_t> {
  static Json make() { return {{"type", "integer"}, {"format", "int64"}}; }
};
template <>
struct SchemaOf<std::uint64_t> {
  static Json make() { return {{"type", "integer"}, {"format", "int64"}, {"minimum", 0}}; }
};
template <>
struct SchemaOf<std::uint16_t> {
  static Json make() { return {{"type", "integer"}, {"minimum", 0}, {"maximum", 65535}}; }
};
template <typename T>
struct SchemaOf<std::vector<T>> {
  static Json make() { return {{"type", "array"}, {"items", SchemaOf<T>::make()}}; }
};
template <typename T>
struct SchemaOf<std::optional<T>> {
  static Json make() {
    Json schema = SchemaOf<T>::make();
    schema["type"] = Json::array({schema["type"], "null"});
    if (schema.contains("enum")) schema["enum"].push_back(nullptr);
    return schema;
  }
};

template <typename T>
struct SchemaOf<Added<T>> : SchemaOf<T> {};

template <typename T>
Json object_schema() {
  Json properties = Json::object();
  Json required = Json::array();
  const T value{};
  fields(
      [&](const char* name, const auto& field, const char* description, Words choices = {}) {
        using Field = std::remove_cvref_t<decltype(field)>;
        Json schema = SchemaOf<Field>::make();
        if (!choices.empty()) schema = with_choices(std::move(schema), choices);
        schema["description"] = description;
        properties[name] = std::move(schema);
        if (!is_added<Field>) required.push_back(name);
      },
      value);
  return {
      {"type", "object"}, {"properties", std::move(properties)}, {"required", std::move(required)}};
}

Json schemas_json() {
  Json all = Json::object();
#define NIXBUILD_SCHEMA(Type) all[std::string(type_name<Type>())] = object_schema<Type>();
  NIXBUILD_PROTOCOL_TYPES(NIXBUILD_SCHEMA)
#undef NIXBUILD_SCHEMA
  return all;
}

Json parameter_json(const Parameter& parameter) {
  constexpr const char* places[] = {"path", "query", "header"};
  Json schema = {{"type", parameter.is_integer ? "integer" : "string"}};
  if (parameter.is_integer) {
    schema["minimum"] = parameter.least;
    schema["maximum"] = parameter.most;
    if (parameter.default_value) schema["default"] = *parameter.default_value;
  }
  return {{"name", parameter.name},
          {"in", places[static_cast<std::size_t>(parameter.place)]},
          {"required", parameter.place == Place::path},
          {"description", parameter.description},
          {"schema", std::move(schema)}};
}

// The media type of "text/plain; charset=utf-8" is text/plain.
std::string media_type(std::string_view content_type) {
  return std::string(content_type.substr(0, content_type.find(';')));
}

std::string_view meaning(unsigned status) {
  switch (status) {
    case 401:
      return "The token is missing or wrong";
    case 403:
      return "The request comes from a web page, from a build, or for a host name that is not "
             "allowed";
    case 404:
      return "No such repository or build";
    case 413:
      return "The request body is too long";
    case 422:
      return "A parameter is invalid or out of range";
    case 429:
      return "Too many builds were triggered; see Retry-After";
    case 503:
      return "A dependency is unavailable; see Retry-After";
    default:
      return "An error";
  }
}

Json operation_json(const Route& route) {
  Json operation = {{"operationId", route.id}, {"summary", route.summary}};
  if (!route.parameters.empty()) {
    operation["parameters"] = Json::array();
    for (const Parameter& parameter : route.parameters) {
      operation["parameters"].push_back(parameter_json(parameter));
    }
  }
  Json content = route.response.empty() ? Json{{"schema", Json::object()}}
                                        : Json{{"schema", reference(route.response)}};
  Json& responses = operation["responses"];
  responses["200"] = {{"description", route.summary},
                      {"content", {{media_type(route.content_type), std::move(content)}}}};
  const auto add_error = [&responses](unsigned status) {
    responses[std::to_string(status)] = {
        {"description", meaning(status)},
        {"content", {{"application/json", {{"schema", reference("ErrorReply")}}}}}};
  };
  for (const unsigned status : common_errors())
    add_error(status);
  for (const unsigned status : route.errors)
    add_error(status);
  return operation;
}

}  // namespace

std::string schemas() {
  return schemas_json().dump(2);
}

std::string openapi_document(std::string_view version) {
  Json paths = Json::object();
  for (const Route& route : routes()) {
    paths[std::string(route.path)][route.method == Method::get ? "get" : "post"] =
        operation_json(route);
  }
  const Json document = {
      {"openapi", "3.1.0"},
      {"info",
       {{"title", "nixbuild"},
        {"description", "The build API of a Nix build server"},
        {"version", version},
        {"license", {{"name", "MIT"}, {"identifier", "MIT"}}}}},
      {"paths", std::move(paths)},
      {"components",
       {{"schemas", schemas_json()},
        {"securitySchemes", {{"token", {{"type", "http"}, {"scheme", "bearer"}}}}}}},
      // No token or the token, depending on the server's configuration.
      {"security", Json::array({Json::object(), {{"token", Json::array()}}})},
  };
  return document.dump(2);
}

}  // namespace nixbuild::protocol
