// Aliases in the languages of shells.
#pragma once

#include <string>
#include <string_view>

#include "cli/aliases/alias_list.hpp"

namespace nixbuild::cli {

enum class Shell { bash, zsh, fish };

// From "zsh" or a path that ends so, as in $SHELL. Throws UsageError for another shell.
Shell parse_shell(std::string_view name);
std::string_view name_of(Shell shell) noexcept;

// `text`, which has no NUL, as one word that the shell takes literally.
std::string quote(Shell shell, std::string_view text);

// Lines that define the aliases, whose names and commands are as alias_list.hpp accepts them. No
// part of a command runs before its alias is used. For fish, names of commands that fish's own
// functions need are left out.
std::string alias_lines(Shell shell, const AliasList& aliases);

// The line of a startup file that loads the aliases which Atuin syncs.
std::string load_line(Shell shell);

}  // namespace nixbuild::cli
