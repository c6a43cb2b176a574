// The protocol's types as JSON and back.
#pragma once

#include <string>
#include <string_view>

#include "common/protocol/types.hpp"

namespace nixbuild::protocol {

// Fields in the order of fields.hpp; bytes that are not UTF-8 become U+FFFD. `indent` is the number
// of spaces a level is indented by; -1 puts everything on one line.
template <typename T>
std::string to_json(const T& value, int indent = -1);

// One string as JSON, with its quotes.
std::string json_string(std::string_view text);

// The five fields that the status shows by default, for people and scripts.
std::string to_json_brief(const BuildStatus& status, int indent = 2);

// Fields that are not known are ignored: a newer server may say more. A field that may be null may
// be missing too: an older server may say less. Throws FormatError naming the type and the field
// that is missing, of another type or out of range.
template <typename T>
T from_json(std::string_view text);

}  // namespace nixbuild::protocol
