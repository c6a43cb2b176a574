// Builds parts of Nix expressions from text.
#pragma once

#include <string>
#include <string_view>

namespace nixbuild::nix {

// A string literal with the value `text`, which must not contain NUL. Nothing in it is
// interpolated. Source: the Nix manual, "String literal".
std::string nix_string(std::string_view text);

// This machine's system, such as "x86_64-linux". Throws SystemError.
std::string this_system();

}  // namespace nixbuild::nix
