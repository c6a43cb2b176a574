// Maps paths to handlers.
//
// A pattern is literal except for placeholders in braces: "/{hash}.narinfo", "/builds/{id}/log". A
// placeholder matches one or more characters other than '/', as few as possible; "{rest...}", at
// the end of a pattern, also matches slashes. Routes are tried in the order in which they were
// added.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "server/http/request.hpp"
#include "server/http/response.hpp"

namespace nixbuild::http {

class HostRule;

using Handler = std::function<Reply(const Request&, PathParameters)>;

struct RouteOptions {
  std::size_t body_limit = 0;  // bytes; a longer request body is answered 413
};

class Router {
 public:
  Router();
  ~Router();
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;

  // Maximum number of placeholders in a pattern.
  static constexpr std::size_t max_parameters = 4;

  // Throws std::logic_error if the pattern is malformed.
  void add(Method method, std::string pattern, Handler handler, RouteOptions options = {});
  void get(std::string pattern, Handler handler) {
    add(Method::get, std::move(pattern), std::move(handler));
  }

  // Makes the body of every error that the server itself answers (400, 404, 405, …). Default: the
  // reason as plain text.
  using ErrorResponse = std::function<Response(unsigned status, std::string_view reason)>;
  void set_error_response(ErrorResponse make);

  // The allowed names in Host (default: any).
  void set_host_rule(std::shared_ptr<HostRule> rule) { host_rule_ = std::move(rule); }
  HostRule* host_rule() const noexcept { return host_rule_.get(); }

  struct Match {
    const Handler* handler = nullptr;  // null: see `allow`
    std::size_t body_limit = 0;
    std::size_t route = 0;   // index of the route's pattern, for metrics; route_count() if none
    std::string_view allow;  // the methods that this path supports; empty: unknown path
    // Views of the path. An array, so that matching allocates nothing.
    std::array<std::string_view, max_parameters> parameter_values;
    std::size_t parameter_count = 0;

    PathParameters parameters() const noexcept {
      return {parameter_values.data(), parameter_count};
    }
  };
  Match match(Method method, std::string_view path) const;
  const std::string& pattern(std::size_t route) const;
  std::size_t route_count() const noexcept;
  Response error_response(unsigned status, std::string_view reason) const;

 private:
  struct Table;
  std::unique_ptr<Table> table_;
  std::shared_ptr<HostRule> host_rule_;
};

}  // namespace nixbuild::http
