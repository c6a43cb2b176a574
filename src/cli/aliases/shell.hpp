// Renders aliases for each shell.
#pragma once

#include <string>
#include <string_view>

#include "cli/aliases/alias_list.hpp"

namespace nixbuild::cli {

enum class Shell { bash, zsh, fish };

// From "zsh" or a path that ends in it, as in $SHELL. Throws UsageError for unsupported shells.
Shell parse_shell(std::string_view name);
std::string_view name_of(Shell shell) noexcept;

// `text`, which has no NUL, as one word that the shell reads literally.
std::string quote(Shell shell, std::string_view text);

// Lines that define the aliases, whose names and commands must be accepted by alias_list.hpp. No
// part of a command runs before its alias is used. For fish, names of commands that fish's own
// functions need are omitted.
std::string alias_lines(Shell shell, const AliasList& aliases);

// The line of a startup file that loads the aliases synced by Atuin.
std::string load_line(Shell shell);

}  // namespace nixbuild::cli
