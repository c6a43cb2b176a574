// The path of a value in the result of a repository's evaluation.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::nix {

using AttributePath = std::vector<std::string>;

// "packages.x86_64-linux.hello", for people: parts that are not identifiers are quoted, control
// characters are removed, and a long path is truncated and ends with a hash of the whole, so that
// no two paths have the same name.
std::string attribute_name(const AttributePath& path);
constexpr std::size_t longest_attribute_name = 400;

// Parses "a.b" or "a.\"x.y\".c". Throws UsageError.
AttributePath parse_attribute_path(std::string_view text);

}  // namespace nixbuild::nix
