// Who may ask the API for what.
//
// Within the tailnet there is no login. But a browser of somebody in the tailnet runs other
// people's pages, and these must neither trigger a build nor read answers. So a POST that a browser
// marks as coming from another site is refused; http::HostRule refuses rebound DNS names before a
// request comes here. If that is not enough, a bearer token can be required.
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

  // Nothing if the request may be answered. `needs_token`: whether the route requires the token.
  std::optional<Refusal> check(const http::Request& request, bool needs_token) const;

 private:
  bool token_fits(std::string_view authorization) const;

  std::string token_;
};

}  // namespace nixbuild::api
