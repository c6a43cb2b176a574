// The texts of the files that `bootstrap` writes; `@NAME@` stands for what differs.
#pragma once

#include <string_view>

namespace nixbuild::cli::texts {

extern const std::string_view inputs;            // of both flakes
extern const std::string_view flake;             // of one machine
extern const std::string_view flake_of_hosts;    // of several, found in hosts/
extern const std::string_view home;              // home.nix
extern const std::string_view host;              // hosts/NAME/host.nix
extern const std::string_view secrets;           // secrets.nix
extern const std::string_view ignored;           // lines of .gitignore
extern const std::string_view ignored_of_hosts;  // the same, of several machines

}  // namespace nixbuild::cli::texts
