// A request's parameters, validated against the route table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/error.hpp"
#include "common/protocol/routes.hpp"
#include "server/http/request.hpp"

namespace nixbuild::api {

// A malformed or out-of-range parameter: answered 422.
class ParameterError : public Error {
 public:
  using Error::Error;
};

class Parameters {
 public:
  // The arguments must outlive this object.
  Parameters(const protocol::Route& route, const http::Request& request, http::PathParameters path);

  // Nothing if absent. Throws std::logic_error if the route has no such parameter.
  std::optional<std::string> text(std::string_view name) const;
  // The route's default if absent. Throws ParameterError.
  std::optional<std::int64_t> number(std::string_view name) const;

 private:
  const protocol::Parameter& find(std::string_view name) const;

  const protocol::Route& route_;
  const http::Request& request_;
  http::PathParameters path_;
};

}  // namespace nixbuild::api
