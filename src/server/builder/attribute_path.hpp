// Where a value lies in what a repository evaluates to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::builder {

using AttributePath = std::vector<std::string>;

// "packages.x86_64-linux.hello", for people: a part that is no identifier is quoted, control
// characters are removed, and a long path is cut and ends with a hash of the whole, so that no two
// paths share a name.
std::string attribute_name(const AttributePath& path);
constexpr std::size_t longest_attribute_name = 400;

// From "a.b", "a.\"x.y\".c". Throws UsageError.
AttributePath parse_attribute_path(std::string_view text);

}  // namespace nixbuild::builder
