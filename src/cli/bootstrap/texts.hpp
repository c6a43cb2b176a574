// The texts of the files that `bootstrap` writes; `@NAME@` is a placeholder.
#pragma once

#include <string_view>

namespace nixbuild::cli::texts {

extern const std::string_view inputs;               // of both flakes
extern const std::string_view terminal_input;       // one more of them
extern const std::string_view flake;                // for one machine
extern const std::string_view flake_of_hosts;       // for several, found in hosts/
extern const std::string_view home;                 // home.nix
extern const std::string_view home_of_client;       // home.nix of --template client
extern const std::string_view host;                 // hosts/NAME/host.nix
extern const std::string_view secrets;              // secrets.nix
extern const std::string_view secrets_of_services;  // the part that --template client omits
extern const std::string_view ignored;              // lines of .gitignore
extern const std::string_view ignored_of_hosts;     // the same, for several machines

}  // namespace nixbuild::cli::texts
