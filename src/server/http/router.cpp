#include "server/http/router.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace nixbuild::http {
namespace {

// A compiled pattern: a literal, then pairs of a placeholder and the literal after it. A
// placeholder ends at the first occurrence of the literal after it. Because a placeholder for one
// path segment cannot match a slash, this finds any match in one pass.
struct Pattern {
  std::string text;
  std::string first;                // the literal before any placeholder
  std::vector<std::string> behind;  // the literal after each placeholder
  bool rest = false;                // the last placeholder is "{name...}"
};

[[noreturn]] void refuse(const std::string& text, const char* why) {
  throw std::logic_error(fmt::format("route pattern '{}': {}", text, why));
}

Pattern parse_pattern(std::string text) {
  Pattern pattern;
  pattern.text = std::move(text);
  const std::string& whole = pattern.text;
  if (!whole.starts_with('/')) refuse(whole, "does not begin with '/'");
  std::string* literal = &pattern.first;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    const char c = whole[i];
    if (c == '}') refuse(whole, "'}' without '{'");
    if (c != '{') {
      if (pattern.rest) refuse(whole, "'{...}' is not at the end");
      *literal += c;
      continue;
    }
    if (pattern.rest) refuse(whole, "'{...}' is not at the end");
    if (!pattern.behind.empty() && literal->empty()) refuse(whole, "two placeholders side by side");
    const std::size_t close = whole.find('}', i);
    if (close == std::string::npos) refuse(whole, "'{' without '}'");
    std::string_view name = std::string_view(whole).substr(i + 1, close - i - 1);
    if (name.ends_with("...")) {
      pattern.rest = true;
      name.remove_suffix(3);
    }
    if (name.empty() || name.find_first_of("{./") != std::string_view::npos) {
      refuse(whole, "a placeholder's name is missing or no name");
    }
    if (pattern.behind.size() == Router::max_parameters) refuse(whole, "too many placeholders");
    literal = &pattern.behind.emplace_back();
    i = close;
  }
  return pattern;
}

bool matches(const Pattern& pattern, std::string_view path, Router::Match& match) {
  if (!path.starts_with(pattern.first)) return false;
  if (pattern.behind.empty()) return path.size() == pattern.first.size();
  std::size_t position = pattern.first.size();
  match.parameter_count = 0;
  for (std::size_t i = 0; i < pattern.behind.size(); ++i) {
    const std::string& literal = pattern.behind[i];
    const bool last = i + 1 == pattern.behind.size();
    std::size_t end = 0;
    if (last) {
      if (!path.ends_with(literal) || path.size() - position < literal.size() + 1) return false;
      end = path.size() - literal.size();
    } else {
      end = path.find(literal, position + 1);
      if (end == std::string_view::npos) return false;
    }
    const std::string_view value = path.substr(position, end - position);
    if (value.empty()) return false;
    if (!(last && pattern.rest) && value.find('/') != std::string_view::npos) return false;
    match.parameter_values[match.parameter_count++] = value;
    position = end + literal.size();
  }
  return true;
}

constexpr std::array<std::pair<Method, std::string_view>, 5> method_names = {{
    {Method::get, "GET, HEAD"},
    {Method::post, "POST"},
    {Method::put, "PUT"},
    {Method::del, "DELETE"},
    {Method::options, "OPTIONS"},
}};

constexpr unsigned bit(Method method) {
  return 1U << static_cast<unsigned>(method);
}

}  // namespace

struct Router::Table {
  struct Route {
    Method method;
    Pattern pattern;
    Handler handler;
    RouteOptions options;
  };

  std::vector<Route> routes;
  ErrorResponse error_response;
  // The value of Allow for each set of methods.
  std::array<std::string, 1U << method_names.size()> allow;

  Table() {
    for (unsigned set = 0; set < allow.size(); ++set) {
      for (const auto& [method, name] : method_names) {
        if ((set & bit(method)) == 0) continue;
        if (!allow[set].empty()) allow[set] += ", ";
        allow[set] += name;
      }
    }
  }
};

Router::Router() : table_(std::make_unique<Table>()) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;

void Router::add(Method method, std::string pattern, Handler handler, RouteOptions options) {
  if (method == Method::other) throw std::logic_error("a route needs a known method");
  table_->routes.push_back(
      {method, parse_pattern(std::move(pattern)), std::move(handler), options});
}

void Router::set_error_response(ErrorResponse make) {
  table_->error_response = std::move(make);
}

Router::Match Router::match(Method method, std::string_view path) const {
  Match result;
  unsigned allowed = 0;
  for (std::size_t i = 0; i < table_->routes.size(); ++i) {
    const Table::Route& route = table_->routes[i];
    if (!matches(route.pattern, path, result)) continue;
    if (route.method != method) {
      allowed |= bit(route.method);
      continue;
    }
    result.handler = &route.handler;
    result.body_limit = route.options.body_limit;
    result.route = i;
    return result;
  }
  result.parameter_count = 0;
  result.route = table_->routes.size();
  result.allow = table_->allow[allowed];
  return result;
}

const std::string& Router::pattern(std::size_t route) const {
  return table_->routes.at(route).pattern.text;
}

std::size_t Router::route_count() const noexcept {
  return table_->routes.size();
}

Response Router::error_response(unsigned status, std::string_view reason) const {
  if (table_->error_response) return table_->error_response(status, reason);
  return text_response(status, std::string(reason) + "\n");
}

}  // namespace nixbuild::http
