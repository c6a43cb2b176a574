// Converts the protocol's types to JSON and back.
#pragma once

#include <string>
#include <string_view>

#include "common/protocol/types.hpp"

namespace nixbuild::protocol {

// Fields in the order of fields.hpp; bytes that are not UTF-8 become U+FFFD. `indent` is the number
// of spaces for each level; -1 puts everything on one line.
template <typename T>
std::string to_json(const T& value, int indent = -1);

// One string as JSON, with its quotes.
std::string json_string(std::string_view text);

// The five fields that the status shows by default, for people and scripts.
std::string to_json_brief(const BuildStatus& status, int indent = 2);

// Unknown fields are ignored, as a newer server may send more. A nullable field may be missing, as
// an older server may send less. Throws FormatError naming the type and the field that is missing,
// out of range or of another type.
template <typename T>
T from_json(std::string_view text);

}  // namespace nixbuild::protocol
