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

// Lines that define the aliases.
std::string alias_lines(Shell shell, const AliasList& aliases);

}  // namespace nixbuild::cli
