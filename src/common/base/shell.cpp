#include "common/base/shell.hpp"

#include <algorithm>

namespace nixbuild {
namespace {

// '#' and '~' are special at the beginning of a word only; so is '=' in zsh.
bool is_plain(std::string_view word) {
  constexpr std::string_view harmless = "_-./:@%+,=#~";
  return !word.empty() && std::string_view("#~=").find(word.front()) == std::string_view::npos &&
         std::all_of(word.begin(), word.end(), [&](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  harmless.find(c) != std::string_view::npos;
         });
}

}  // namespace

std::string shell_word(std::string_view word) {
  if (is_plain(word)) return std::string(word);
  std::string quoted = "'";
  for (const char c : word) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + '\'';
}

std::string shell_command(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty()) line += ' ';
    line += shell_word(word);
  }
  return line;
}

}  // namespace nixbuild
