#include "cli/aliases/alias_list.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string_view>
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

// Of what bash, zsh, fish and Atuin all take, the part that means the same to each.
bool is_name(std::string_view text) {
  return !text.empty() && (is_letter_or_digit(text.front()) || text.front() == '_') &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return is_letter_or_digit(c) || c == '_' || c == '-' || c == '.';
         });
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

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
    if (equals == std::string::npos || !is_name(name)) {
      throw UsageError(
          fmt::format("{}: NAME=COMMAND was expected, with a name of letters, digits, '_', '-' "
                      "and '.'",
                      nix::printable(text)));
    }
    std::string command = text.substr(equals + 1);
    if (command.find_first_not_of(' ') == std::string::npos || has_control(command)) {
      throw UsageError(
          fmt::format("{}: the command must be one line of text, not empty", nix::printable(text)));
    }
    list[name] = std::move(command);
  }
}

}  // namespace

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
