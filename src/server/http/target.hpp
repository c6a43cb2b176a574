// Splits and decodes a request target.
#pragma once

#include <string>
#include <string_view>

namespace nixbuild::http {

struct Target {
  std::string_view authority;  // of the absolute form "http://HOST/…", otherwise empty
  std::string_view path;       // decoded; a view of the target or of `storage`
  std::string_view query;      // after '?', still encoded
};

// Splits `text` and decodes its path, using `storage` if the path contains escapes. Returns false
// if it must be answered 400: neither "/…" nor "http://…", a '%' without two hex digits, a NUL
// byte, a "." or ".." segment, or a fragment.
bool parse_target(std::string_view text, std::string& storage, Target& target);

}  // namespace nixbuild::http
