// Guessing what somebody meant who mistyped a name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild {

// The one of `known` that is closest to `mistyped`, counting letters that were inserted, left out,
// replaced or swapped with their neighbour. Nothing if none is close: a third of the letters, and
// at least one, may be wrong.
std::optional<std::string> nearest(std::string_view mistyped,
                                   const std::vector<std::string>& known);

}  // namespace nixbuild
