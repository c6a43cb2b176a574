// Appends JSON strings and numbers to text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nixbuild::nix {

// Appends `text` as a JSON string, with its quotes. Bytes that are not UTF-8, which file names can
// contain and JSON cannot, each become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

// Appends `number` in decimal.
void append_number(std::string& out, std::uint64_t number);

// Untrusted `text` for an error message: as a JSON string, cut if it is long.
std::string printable(std::string_view text);

}  // namespace nixbuild::nix
