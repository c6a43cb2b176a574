// The request target, taken apart and decoded.
#pragma once

#include <string>
#include <string_view>

namespace nixbuild::http {

struct Target {
  std::string_view authority;  // of the absolute form "http://HOST/…", else empty
  std::string_view path;       // decoded; a view of the target or of `storage`
  std::string_view query;      // behind '?', still encoded
};

// Splits `text` and decodes its path, using `storage` where the path had an escape. Returns false
// for what must be answered 400: neither "/…" nor "http://…", a '%' without two hex digits, a zero
// byte, a "." or ".." segment, a fragment.
bool parse_target(std::string_view text, std::string& storage, Target& target);

// Decodes "%41", and '+' as a space when `plus_is_space`. Returns false at a malformed escape.
bool percent_decode(std::string_view text, bool plus_is_space, std::string& out);

}  // namespace nixbuild::http
