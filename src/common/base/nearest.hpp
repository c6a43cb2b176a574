// Guesses which name a mistyped one stands for.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild {

// The name in `known` that is closest to `mistyped`, counting inserted, omitted, replaced and
// transposed letters. Nothing if none is close: a third of the letters, and at least one, may be
// wrong.
std::optional<std::string> nearest(std::string_view mistyped,
                                   const std::vector<std::string>& known);

// "a, b, c, and 12 more": if there are many, only the first few are listed.
std::string list_names(const std::vector<std::string>& names);

// "did you mean 'demo'? repositories: demo, tools".
std::string known_names(std::string_view plural, std::string_view word,
                        const std::vector<std::string>& known);

// "unknown repository 'demp'; did you mean 'demo'? repositories: demo, tools".
struct Noun {
  std::string_view singular;
  std::string_view plural;
};
std::string unknown_name(Noun noun, std::string_view word, const std::vector<std::string>& known);

}  // namespace nixbuild
