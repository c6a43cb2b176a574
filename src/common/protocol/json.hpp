// The protocol's types as JSON and back.
#pragma once

#include <string>
#include <string_view>

#include "common/protocol/types.hpp"

namespace nixbuild::protocol {

// Compact JSON, fields in the order of fields.hpp.
template <typename T>
std::string to_json(const T& value);

// The five fields that the status shows by default, indented, for people and scripts.
std::string to_json_brief(const BuildStatus& status);

// Unknown fields are ignored: a newer server may say more. Throws FormatError naming the field that
// is missing or of another type.
template <typename T>
T from_json(std::string_view text);

}  // namespace nixbuild::protocol
