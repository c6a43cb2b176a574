// Aliases in the file that a shell reads when it starts, for shells without Atuin.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "cli/aliases/shell.hpp"

namespace nixbuild::cli {

// `content` of a startup file with `lines` between two marks: in place of what stood between them,
// else at the end. Without lines the marks go, too. Throws Error where one mark stands alone.
std::string with_alias_block(std::string_view content, std::string_view lines);

// The file that belongs to the shell: ~/.bashrc, $ZDOTDIR/.zshrc, or one of its own in fish's
// conf.d. Throws UsageError where HOME is not set.
std::filesystem::path startup_file(Shell shell);

enum class Change { none, written };

// Puts the aliases into the shell's startup file, whose mode stays; a link is followed. Throws
// Error where Nix made the file, SystemError where it cannot be written.
Change install_aliases(Shell shell, const AliasList& aliases, const std::filesystem::path& file);

}  // namespace nixbuild::cli
