#include "cli/aliases/atuin.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/subprocess.hpp"
#include "common/base/terminal.hpp"
#include "common/config/load.hpp"

namespace nixbuild::cli {
namespace {

// Where the record of the aliases that were set is kept, in Atuin's key-value store.
constexpr const char* record_namespace = "nixbuild";
constexpr const char* record_key = "aliases";

// The line that says what is wrong; around it, Atuin tells where in its source.
std::string reason_of(const Exit& exit) {
  std::string_view text = exit.error;
  if (const std::size_t at = text.find("Error: "); at != std::string_view::npos) {
    text.remove_prefix(at + std::string_view("Error: ").size());
  }
  text = text.substr(0, text.find('\n'));
  return text.empty() ? exit.reason() : terminal::printable(text);
}

Exit run_atuin(const std::string& program, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), program);
  Command command;
  command.arguments = std::move(arguments);
  return nixbuild::run(std::move(command));
}

}  // namespace

Atuin::Atuin() {
  const auto found =
      find_program("atuin", config::process_environment("PATH").value_or("/usr/bin:/bin"));
  if (!found) {
    throw Error(
        "there is no 'atuin' in PATH to set aliases with; install Atuin 18 or newer, or use "
        "--install to put the aliases into the shell's startup file");
  }
  program_ = *found;
}

std::string Atuin::run(std::vector<std::string> arguments) const {
  const std::string shown = fmt::format("{}", fmt::join(arguments, " "));
  const Exit exit = run_atuin(program_, std::move(arguments));
  if (!exit.ok()) throw Error(fmt::format("atuin {}: {}", shown, reason_of(exit)));
  return exit.output;
}

AliasList Atuin::aliases() const {
  const Exit exit = run_atuin(program_, {"dotfiles", "alias", "list"});
  if (exit.error.find("not enabled") != std::string::npos) {
    throw UsageError(
        "Atuin does not keep aliases: its configuration, usually ~/.config/atuin/config.toml, "
        "needs "
        "these two lines (home-manager: programs.atuin.settings.dotfiles.enabled = true)\n\n"
        "[dotfiles]\nenabled = true");
  }
  if (!exit.ok()) {
    throw Error(
        fmt::format("atuin dotfiles alias list: {}; Atuin 18 or newer is needed", reason_of(exit)));
  }
  return parse_alias_listing(exit.output);
}

void Atuin::set(const std::string& name, const std::string& command) const {
  run({"dotfiles", "alias", "set", "--", name, command});
}

void Atuin::remove(const std::string& name) const {
  run({"dotfiles", "alias", "delete", "--", name});
}

AliasRecord Atuin::record() const {
  return parse_alias_record(run({"kv", "get", "--namespace", record_namespace, record_key}));
}

void Atuin::set_record(const AliasRecord& record) const {
  run({"kv", "set", "--namespace", record_namespace, "--key", record_key, "--",
       format_alias_record(record)});
}

std::optional<std::string> Atuin::sync() const {
  const Exit exit = run_atuin(program_, {"sync"});
  if (exit.ok()) return std::nullopt;
  std::string reason = reason_of(exit);
  if (exit.error.find("not logged in") != std::string::npos) {
    return "Atuin is not logged in; `atuin login`, or `atuin register` for a new account, then "
           "once more";
  }
  return reason;
}

}  // namespace nixbuild::cli
