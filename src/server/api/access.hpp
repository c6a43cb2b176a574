// Who may ask the API for what.
//
// Within the tailnet there is no login. But a browser of somebody in the tailnet runs other
// people's pages, and these must neither trigger a build nor read answers: so a POST that a browser
// says comes from another site is refused, and so is every request whose Host is not a name of this
// server, which is what a rebound DNS name looks like. Where that is not enough, a bearer token is
// asked for.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/request.hpp"

namespace nixbuild::api {

struct Refusal {
  unsigned status = 403;  // 401 or 403
  std::string reason;
};

class Access {
 public:
  // `host_names` are this machine's own names, `allowed_hosts` those that the configuration adds;
  // an empty `token` asks for none.
  Access(std::vector<std::string> host_names, std::vector<std::string> allowed_hosts,
         std::string token);

  // Nothing when the request may be answered. `needs_token` says whether the route asks for it.
  std::optional<Refusal> check(const http::Request& request, bool needs_token) const;

 private:
  bool host_is_ours(std::string_view host) const;
  bool token_fits(std::string_view authorization) const;

  std::vector<std::string> names_;
  std::string token_;
};

// The names by which this machine is known: its host name, with and without its domain.
std::vector<std::string> own_host_names();

}  // namespace nixbuild::api
