// Extracts why git or nix failed from their standard error.
#pragma once

#include <string>
#include <string_view>

#include "common/base/subprocess.hpp"

namespace nixbuild::nix {

// One line: what follows the last "error:" or "fatal:", with the reason and the details that Nix
// writes on separate lines, else the last line.
std::string reason_in(std::string_view error_output);
// The same, or the exit reason if the program wrote nothing.
std::string reason_of(const Exit& exit);

}  // namespace nixbuild::nix
