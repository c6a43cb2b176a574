// Aliases in the file that a shell reads when it starts: the aliases themselves, for shells without
// Atuin, or the line that loads those that Atuin syncs.
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

// Puts the lines into the startup file, whose mode stays; a link is followed. Throws Error where
// Nix made the file, SystemError where it cannot be written.
Change install_lines(std::string_view lines, const std::filesystem::path& file);

// Whether a startup file of the shell, the user's or the system's, has the line that loads the
// aliases which Atuin syncs.
bool loads_synced_aliases(Shell shell);

}  // namespace nixbuild::cli
