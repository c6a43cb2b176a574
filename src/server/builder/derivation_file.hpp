// What is needed of a derivation's file: the paths of its outputs.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::builder {

// From the text of a .drv file: Derive([("out","/nix/store/…","",""),…],…). Nothing when it is not
// of that form; an output whose path is not known before it is built has an empty one.
// Source: the Nix manual, "Derivation ATerm format".
std::optional<std::vector<std::string>> derivation_outputs(std::string_view text);

}  // namespace nixbuild::builder
