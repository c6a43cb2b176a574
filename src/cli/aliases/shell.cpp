#include "cli/aliases/shell.hpp"

#include <fmt/format.h>

#include <array>

#include "common/base/error.hpp"
#include "common/nix/text.hpp"

namespace nixbuild::cli {
namespace {

struct Name {
  Shell shell;
  std::string_view name;
};
constexpr std::array names = {Name{Shell::bash, "bash"}, Name{Shell::zsh, "zsh"},
                              Name{Shell::fish, "fish"}};

}  // namespace

Shell parse_shell(std::string_view text) {
  std::string_view last = text;
  last.remove_prefix(last.rfind('/') + 1);  // npos + 1 is 0
  for (const Name& entry : names) {
    if (last == entry.name) return entry.shell;
  }
  throw UsageError(fmt::format(
      "shell: {}: aliases are written for bash, zsh and fish; --shell names one of them",
      nix::printable(text)));
}

std::string_view name_of(Shell shell) noexcept {
  for (const Name& entry : names) {
    if (shell == entry.shell) return entry.name;
  }
  return {};
}

// Inside single quotes, a POSIX shell knows no escapes; fish knows \\ and \'.
std::string quote(Shell shell, std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (shell == Shell::fish && (c == '\'' || c == '\\')) {
      out += '\\';
      out += c;
    } else if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + '\'';
}

std::string alias_lines(Shell shell, const AliasList& aliases) {
  std::string out;
  for (const auto& [name, command] : aliases) {
    const std::string quoted = quote(shell, command);
    out += shell == Shell::fish ? fmt::format("alias {} {}\n", name, quoted)
                                : fmt::format("alias {}={}\n", name, quoted);
  }
  return out;
}

}  // namespace nixbuild::cli
