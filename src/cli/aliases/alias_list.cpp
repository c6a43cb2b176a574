#include "cli/aliases/alias_list.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "common/base/error.hpp"
#include "common/nix/text.hpp"

namespace nixbuild::cli {
namespace {

AliasList built_in() {
  return {
      {"bt", "nixbuild trigger"},
      {"bs", "nixbuild status"},
      {"bl", "nixbuild logs"},
      {"rebuild", "nixbuild system-update --no-update --no-gc"},
      {"system-update", "nixbuild system-update"},
  };
}

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

// Grammar words of bash, zsh and fish, and the commands that define aliases in startup files.
constexpr auto reserved = std::to_array<std::string_view>({
    "alias",    "and",       "begin", "break", "builtin", "case",     "command",
    "continue", "coproc",    "do",    "done",  "elif",    "else",     "end",
    "esac",     "eval",      "fi",    "for",   "foreach", "function", "if",
    "in",       "nocorrect", "not",   "or",    "repeat",  "return",   "select",
    "source",   "switch",    "then",  "time",  "unalias", "until",    "while",
});

void leave_out(AliasList& list, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (list.erase(name) == 0) {
      throw UsageError(
          fmt::format("{}: there is no built-in alias of this name", nix::printable(name)));
    }
  }
}

void add(AliasList& list, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    if (equals == std::string::npos || !is_alias_name(name)) {
      throw UsageError(
          fmt::format("{}: expected NAME=COMMAND, with a name of letters, digits, '_', '-' and '.' "
                      "that is no word of a shell's own, such as 'if' or 'alias'",
                      nix::printable(text)));
    }
    std::string command = text.substr(equals + 1);
    if (!is_alias_command(command)) {
      throw UsageError(
          fmt::format("{}: the command must be one line of text, not empty, of at most {} bytes",
                      nix::printable(text), longest_alias_command));
    }
    list[name] = std::move(command);
  }
}

}  // namespace

bool is_alias_name(std::string_view name) {
  constexpr std::size_t longest = 64;
  return !name.empty() && name.size() <= longest &&
         (is_letter_or_digit(name.front()) || name.front() == '_') &&
         std::all_of(
             name.begin(), name.end(),
             [](char c) { return is_letter_or_digit(c) || c == '_' || c == '-' || c == '.'; }) &&
         std::find(reserved.begin(), reserved.end(), name) == reserved.end();
}

bool is_alias_command(std::string_view command) {
  return command.find_first_not_of(' ') != std::string_view::npos && !has_control(command) &&
         command.size() <= longest_alias_command;
}

AliasList wanted_aliases(const config::Configuration& configuration) {
  AliasList list = built_in();
  const char* key = "without";
  try {
    leave_out(list, configuration.aliases.without);
    key = "extra";
    add(list, configuration.aliases.extra);
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: {}", configuration.settings.find("aliases", key)->told_by(),
                                 error.what()));
  }
  return list;
}

}  // namespace nixbuild::cli
