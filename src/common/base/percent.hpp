// Percent-encoding of URLs (RFC 3986).
#pragma once

#include <string>
#include <string_view>

namespace nixbuild {

// Encodes everything except the unreserved characters.
std::string percent_encode(std::string_view raw);

// Decodes "%41", and '+' as a space if `plus_is_space`. Returns false for a malformed escape.
bool percent_decode(std::string_view text, bool plus_is_space, std::string& out);

}  // namespace nixbuild
