// The program's aliases: short names for its daily commands.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "common/config/configuration.hpp"

namespace nixbuild::cli {

// Commands by the names of their aliases.
using AliasList = std::map<std::string, std::string>;

// Whether bash, zsh, fish and Atuin all accept the name and treat it alike. Grammar words of the
// shells and commands that define aliases are refused: as aliases, they would change the meaning of
// whatever the shell reads next.
bool is_alias_name(std::string_view name);
// Whether the command is one non-blank line of at most `longest_alias_command` bytes.
bool is_alias_command(std::string_view command);
constexpr std::size_t longest_alias_command = 4096;

// The built-in aliases with the user's settings applied. Throws UsageError for a name or a command
// that the functions above refuse, and for excluding an unknown built-in alias; the message names
// the setting and its source.
AliasList wanted_aliases(const config::Configuration& configuration);

}  // namespace nixbuild::cli
