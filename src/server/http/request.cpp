#include "server/http/request.hpp"

#include "common/base/percent.hpp"
#include "server/http/target.hpp"

namespace nixbuild::http {

std::optional<std::string> Request::query_parameter(std::string_view name) const {
  std::string_view rest = query;
  std::string decoded;
  while (!rest.empty()) {
    const std::size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    if (!percent_decode(pair.substr(0, equals), true, decoded) || decoded != name) continue;
    if (equals == std::string_view::npos) return std::string();
    // Return a malformed escape undecoded, so that the handler can reject the value.
    const std::string_view value = pair.substr(equals + 1);
    if (!percent_decode(value, true, decoded)) decoded = value;
    return decoded;
  }
  return std::nullopt;
}

}  // namespace nixbuild::http
