// Writes aliases to a shell's startup file: the aliases themselves, for shells without Atuin, or
// the line that loads those synced by Atuin.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "cli/aliases/shell.hpp"

namespace nixbuild::cli {

// `content` of a startup file with `lines` between two marks. They replace the text between the
// marks, or are appended if there are none. Without lines, the marks are removed too. Throws Error
// if one of the marks is missing.
std::string with_alias_block(std::string_view content, std::string_view lines);

// The shell's file: ~/.bashrc, $ZDOTDIR/.zshrc, or a separate file in fish's conf.d. Throws
// UsageError if HOME is not set.
std::filesystem::path startup_file(Shell shell);

enum class Change { none, written };

// Writes the lines to the startup file and keeps its mode; symbolic links are followed. Throws
// Error if Nix generated the file, SystemError if it cannot be written.
Change install_lines(std::string_view lines, const std::filesystem::path& file);

// Whether a startup file of the shell, the user's or the system's, has the line that loads the
// aliases synced by Atuin.
bool loads_synced_aliases(Shell shell);

}  // namespace nixbuild::cli
