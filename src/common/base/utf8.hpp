// UTF-8 (RFC 3629): overlong forms, surrogates and what lies above U+10FFFF are none.
#pragma once

#include <cstddef>
#include <string_view>

namespace nixbuild::utf8 {

// What stands for a byte that is not UTF-8: U+FFFD.
inline constexpr std::string_view replacement = "\xef\xbf\xbd";

// How many bytes the character takes that `text`, which is not empty, begins with; 0 when it begins
// with none.
std::size_t sequence_length(std::string_view text) noexcept;

}  // namespace nixbuild::utf8
