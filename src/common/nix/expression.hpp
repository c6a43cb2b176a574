// Text as part of an expression of the Nix language.
#pragma once

#include <string>
#include <string_view>

namespace nixbuild::nix {

// A string literal that means `text`, which holds no zero byte. Nothing in it is interpolated.
// Source: the Nix manual, "String literal".
std::string nix_string(std::string_view text);

// The system of this machine, such as "x86_64-linux". Throws SystemError.
std::string this_system();

}  // namespace nixbuild::nix
