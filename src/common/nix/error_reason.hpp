// Why git or nix failed, out of what they write on their standard error.
#pragma once

#include <string>
#include <string_view>

#include "common/base/subprocess.hpp"

namespace nixbuild::nix {

// In one line: what follows the last "error:" or "fatal:", with the reason and the details that Nix
// writes in lines of their own, else the last line.
std::string reason_in(std::string_view error_output);
// The same, or how the program ended if it wrote nothing.
std::string reason_of(const Exit& exit);

}  // namespace nixbuild::nix
