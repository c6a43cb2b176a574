#include "server/api/access.hpp"

#include <sodium.h>

#include <array>

#include "server/http/ascii.hpp"

namespace nixbuild::api {
namespace {

// Whether the browser indicates that a page of another site made the request.
bool is_cross_site(const http::Request& request) {
  const std::string_view site = request.header("sec-fetch-site");
  if (!site.empty() && site != "same-origin" && site != "none") return true;
  const std::string_view origin = request.header("origin");
  if (origin.empty()) return false;
  const std::size_t scheme_end = origin.find("://");
  // Includes "null", the origin of sandboxed pages and files.
  if (scheme_end == std::string_view::npos) return true;
  return !http::iequals(origin.substr(scheme_end + 3), request.header("host"));
}

}  // namespace

std::optional<Refusal> Access::check(const http::Request& request, bool needs_token) const {
  if (request.method != http::Method::get && is_cross_site(request)) {
    return Refusal{403, "a page of another site may not do this"};
  }
  if (needs_token && !token_.empty() && !token_fits(request.header("authorization"))) {
    return Refusal{401, "this server asks for a token: Authorization: Bearer TOKEN"};
  }
  return std::nullopt;
}

bool Access::token_fits(std::string_view authorization) const {
  constexpr std::string_view scheme = "bearer ";
  if (!http::istarts_with(authorization, scheme)) return false;
  const std::string_view given = http::trim(authorization.substr(scheme.size()));
  // Compare hashes of equal length, so that the time does not reveal the token's length.
  std::array<unsigned char, crypto_generichash_BYTES> wanted_hash{};
  std::array<unsigned char, crypto_generichash_BYTES> given_hash{};
  crypto_generichash(wanted_hash.data(), wanted_hash.size(),
                     reinterpret_cast<const unsigned char*>(token_.data()), token_.size(), nullptr,
                     0);
  crypto_generichash(given_hash.data(), given_hash.size(),
                     reinterpret_cast<const unsigned char*>(given.data()), given.size(), nullptr,
                     0);
  return sodium_memcmp(wanted_hash.data(), given_hash.data(), wanted_hash.size()) == 0;
}

}  // namespace nixbuild::api
