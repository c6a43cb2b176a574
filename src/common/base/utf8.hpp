// UTF-8 (RFC 3629): overlong forms, surrogates and values above U+10FFFF are invalid.
#pragma once

#include <cstddef>
#include <string_view>

namespace nixbuild::utf8 {

// The replacement for a byte that is not UTF-8: U+FFFD.
inline constexpr std::string_view replacement = "\xef\xbf\xbd";

// The length in bytes of the character at the beginning of `text`, which must not be empty; 0 if it
// is invalid.
std::size_t sequence_length(std::string_view text) noexcept;

}  // namespace nixbuild::utf8
