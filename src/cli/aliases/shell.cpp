#include "cli/aliases/shell.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "common/base/error.hpp"
#include "common/nix/text.hpp"

namespace nixbuild::cli {
namespace {

struct Name {
  Shell shell;
  std::string_view name;
};
constexpr std::array shells = {Name{Shell::bash, "bash"}, Name{Shell::zsh, "zsh"},
                               Name{Shell::fish, "fish"}};

// fish's `alias` pastes the command into the text of a function, so a command that contains ';' or
// 'end' would run at once. This matches the commands that `alias` handles safely.
bool is_plain(std::string_view command) {
  return command.front() != '-' && std::all_of(command.begin(), command.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  std::string_view(" _./:=,@%+-").find(c) != std::string_view::npos;
         });
}

// Commands that fish's `alias` itself calls: a function of that name would run with the next alias.
constexpr auto used_by_fish = std::to_array<std::string_view>({
    "argparse",
    "contains",
    "count",
    "echo",
    "exit",
    "functions",
    "printf",
    "read",
    "set",
    "status",
    "string",
    "test",
    "type",
});

// The command stays a quoted string until the function is called.
std::string fish_function(const std::string& name, std::string_view command) {
  const std::string body = quote(Shell::fish, fmt::format("{} $argv", command));
  // A command that begins with its own name means the program or builtin of that name.
  std::string_view first = command.substr(std::min(command.find_first_not_of(' '), command.size()));
  first = first.substr(0, first.find(' '));
  if (first != name) return fmt::format("function {}; eval {}; end\n", name, body);
  return fmt::format(
      "function {0}; eval (contains -- {0} (builtin --names); and echo builtin; or echo command) "
      "{1}; end\n",
      name, body);
}

}  // namespace

Shell parse_shell(std::string_view text) {
  std::string_view last = text;
  last.remove_prefix(last.rfind('/') + 1);  // npos + 1 is 0
  for (const Name& entry : shells) {
    if (last == entry.name) return entry.shell;
  }
  throw UsageError(fmt::format(
      "shell: {}: aliases are written for bash, zsh and fish; --shell names one of them",
      nix::printable(text)));
}

std::string_view name_of(Shell shell) noexcept {
  for (const Name& entry : shells) {
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
    if (shell == Shell::fish &&
        std::find(used_by_fish.begin(), used_by_fish.end(), name) != used_by_fish.end()) {
      continue;
    }
    if (shell == Shell::fish && !is_plain(command)) {
      out += fish_function(name, command);
    } else {
      const char separator = shell == Shell::fish ? ' ' : '=';
      out += fmt::format("alias {}{}{}\n", name, separator, quote(shell, command));
    }
  }
  return out;
}

std::string load_line(Shell shell) {
  if (shell == Shell::fish) {
    return "type -q nixbuild; and nixbuild aliases --shell fish --from-atuin | source\n";
  }
  return fmt::format(
      "command -v nixbuild >/dev/null && eval \"$(nixbuild aliases --shell {} --from-atuin)\"\n",
      name_of(shell));
}

}  // namespace nixbuild::cli
