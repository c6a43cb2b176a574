#include "server/api/access.hpp"

#include <arpa/inet.h>
#include <sodium.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "server/http/ascii.hpp"

namespace nixbuild::api {
namespace {

// A Host or an Origin's authority without its port and the brackets of an IPv6 address.
std::string_view host_of(std::string_view authority) {
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    return end == std::string_view::npos ? std::string_view{} : authority.substr(1, end - 1);
  }
  const std::size_t colon = authority.rfind(':');
  return colon == std::string_view::npos ? authority : authority.substr(0, colon);
}

bool is_address(std::string_view host) {
  const std::string text(host.substr(0, host.find('%')));
  std::array<unsigned char, 16> bytes{};
  return ::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

bool iends_with(std::string_view text, std::string_view suffix) {
  return text.size() > suffix.size() &&
         http::iequals(text.substr(text.size() - suffix.size()), suffix);
}

// Whether a browser says that the request was made by a page of another site.
bool is_cross_site(const http::Request& request) {
  const std::string_view site = request.header("sec-fetch-site");
  if (!site.empty() && site != "same-origin" && site != "none") return true;
  const std::string_view origin = request.header("origin");
  if (origin.empty()) return false;
  const std::size_t scheme_end = origin.find("://");
  // Also "null", the origin of sandboxed pages and files.
  if (scheme_end == std::string_view::npos) return true;
  return !http::iequals(origin.substr(scheme_end + 3), request.header("host"));
}

}  // namespace

Access::Access(std::vector<std::string> host_names, std::vector<std::string> allowed_hosts,
               std::string token)
    : names_(std::move(host_names)), token_(std::move(token)) {
  std::move(allowed_hosts.begin(), allowed_hosts.end(), std::back_inserter(names_));
}

std::optional<Refusal> Access::check(const http::Request& request, bool needs_token) const {
  if (!host_is_ours(request.header("host"))) {
    return Refusal{403,
                   "the Host of this request is not a name of this server; where it should "
                   "be, name it with --allowed-host"};
  }
  if (request.method != http::Method::get && is_cross_site(request)) {
    return Refusal{403, "a page of another site may not do this"};
  }
  if (needs_token && !token_.empty() && !token_fits(request.header("authorization"))) {
    return Refusal{401, "this server asks for a token: Authorization: Bearer TOKEN"};
  }
  return std::nullopt;
}

// DNS rebinding needs a name that its attacker owns. An address, a single label and .local are
// nobody's to own.
bool Access::host_is_ours(std::string_view authority) const {
  std::string_view host = host_of(authority);
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty()) return authority.empty();
  if (is_address(host) || host.find('.') == std::string_view::npos) return true;
  if (iends_with(host, ".local") || iends_with(host, ".localhost")) return true;
  // A MagicDNS name is the machine's own name in its tailnet: HOST.TAILNET.ts.net.
  const std::string_view label = host.substr(0, host.find('.'));
  return std::any_of(names_.begin(), names_.end(), [&](const std::string& name) {
    return http::iequals(name, host) || (iends_with(host, ".ts.net") && http::iequals(name, label));
  });
}

bool Access::token_fits(std::string_view authorization) const {
  constexpr std::string_view scheme = "bearer ";
  if (!http::istarts_with(authorization, scheme)) return false;
  const std::string_view given = http::trim(authorization.substr(scheme.size()));
  // Hashes have one length, so that the time tells nothing of the token's.
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

std::vector<std::string> own_host_names() {
  std::array<char, 256> buffer{};  // POSIX: at most 255
  if (::gethostname(buffer.data(), buffer.size() - 1) != 0) return {};
  const std::string name = buffer.data();
  const std::string label = name.substr(0, name.find('.'));
  if (label == name) return {name};
  return {name, label};
}

}  // namespace nixbuild::api
