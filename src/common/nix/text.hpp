// Texts put together by appending: JSON strings and numbers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nixbuild::nix {

// Appends `text` as a JSON string, with its quotes. Bytes that are not UTF-8, which file names may
// hold and JSON cannot, become U+FFFD, one for each such byte.
void append_json_string(std::string& out, std::string_view text);

// Appends `number` in decimal.
void append_number(std::string& out, std::uint64_t number);

// `text` from outside as an error message can show it: as a JSON string, cut when it is long.
std::string printable(std::string_view text);

}  // namespace nixbuild::nix
