// The aliases that the program offers: short names for its daily commands.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

#include "common/config/configuration.hpp"

namespace nixbuild::cli {

// Commands by the names of their aliases.
using AliasList = std::map<std::string, std::string>;

// Whether bash, zsh, fish and Atuin accept the name and mean the same by it. Words of the shells'
// own grammar and the commands that define aliases are refused: a list that has them would change
// the meaning of what a shell reads after it.
bool is_alias_name(std::string_view name);
// Whether it is one line of text that does something, of at most `longest_alias_command` bytes.
bool is_alias_command(std::string_view command);
constexpr std::size_t longest_alias_command = 4096;

// The built-in aliases with the user's wishes applied. Throws UsageError for a name or a command
// that the functions above refuse, and for a name to leave out that is no built-in one's; it names
// the setting and where that comes from.
AliasList wanted_aliases(const config::Configuration& configuration);

}  // namespace nixbuild::cli
