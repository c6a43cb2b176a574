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

// "unknown repository 'demp'; did you mean 'demo'? repositories: demo, tools". Of many known names
// the first few are listed.
struct Noun {
  std::string_view singular;
  std::string_view plural;
};
std::string unknown_name(Noun noun, std::string_view word, const std::vector<std::string>& known);

}  // namespace nixbuild
