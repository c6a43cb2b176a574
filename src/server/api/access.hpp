// Decides who may use the API.
//
// There is no login within the tailnet. But browsers in the tailnet run pages of other people,
// which must neither trigger a build nor read answers. So a POST that the browser marks as coming
// from another site is rejected; http::HostRule has already rejected rebound DNS names. If that is
// not enough, a bearer token can be required.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "server/http/request.hpp"

namespace nixbuild::api {

struct Refusal {
  unsigned status = 403;  // 401 or 403
  std::string reason;
};

class Access {
 public:
  // Requires `token`, unless it is empty.
  explicit Access(std::string token) : token_(std::move(token)) {}

  // Returns nothing if the request is allowed. `needs_token`: whether the route requires the token.
  std::optional<Refusal> check(const http::Request& request, bool needs_token) const;

 private:
  bool token_fits(std::string_view authorization) const;

  std::string token_;
};

}  // namespace nixbuild::api
