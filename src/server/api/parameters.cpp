#include "server/api/parameters.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace nixbuild::api {

Parameters::Parameters(const protocol::Route& route, const http::Request& request,
                       http::PathParameters path)
    : route_(route), request_(request), path_(path) {}

const protocol::Parameter& Parameters::find(std::string_view name) const {
  const auto found =
      std::find_if(route_.parameters.begin(), route_.parameters.end(),
                   [&](const protocol::Parameter& parameter) { return parameter.name == name; });
  if (found == route_.parameters.end()) {
    throw std::logic_error(fmt::format("{} has no parameter {}", route_.path, name));
  }
  return *found;
}

std::optional<std::string> Parameters::text(std::string_view name) const {
  switch (find(name).place) {
    case protocol::Place::path:
      return std::string(path_.front());  // a route has at most one placeholder
    case protocol::Place::query:
      return request_.query_parameter(name);
    case protocol::Place::header: {
      const std::string_view value = request_.header(name);
      if (value.empty()) return std::nullopt;
      return std::string(value);
    }
  }
  return std::nullopt;
}

std::optional<std::int64_t> Parameters::number(std::string_view name) const {
  const protocol::Parameter& parameter = find(name);
  const auto given = text(name);
  if (!given) return parameter.default_value;
  std::int64_t value = 0;
  const char* end = given->data() + given->size();
  const auto [rest, error] = std::from_chars(given->data(), end, value);
  if (given->empty() || error != std::errc() || rest != end || value < parameter.least ||
      value > parameter.most) {
    throw ParameterError(fmt::format("{}: '{}': a whole number from {} to {} was expected", name,
                                     given->substr(0, 64), parameter.least, parameter.most));
  }
  return value;
}

}  // namespace nixbuild::api
