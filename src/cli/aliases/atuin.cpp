#include "cli/aliases/atuin.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/subprocess.hpp"
#include "common/base/terminal.hpp"
#include "common/config/load.hpp"

namespace nixbuild::cli {
namespace {

// Keys in Atuin's key-value store: the list of aliases, and the record of what was set.
constexpr const char* own_namespace = "nixbuild";
constexpr const char* list_key = "alias-list";
constexpr const char* record_key = "aliases";
constexpr std::size_t most_value = 32768;  // bytes that all versions sync, see the header

constexpr const char* no_key =
    "Atuin has no encryption key on this machine; log in with `atuin login` and the key that "
    "`atuin key` prints on another machine of the account, or make an account with `atuin "
    "register`, then repeat this command; or use --install to put the aliases into the shell's "
    "startup file";

bool says(const Exit& exit, std::string_view words) {
  return exit.error.find(words) != std::string::npos;
}

std::string_view first_line_after(std::string_view text, std::string_view mark) {
  const std::size_t at = text.find(mark);
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + mark.size());
  text.remove_prefix(std::min(text.find_first_not_of(" \n"), text.size()));
  return text.substr(0, text.find('\n'));
}

// The line with the error, and the first cause. The lines around them are locations in Atuin's
// source.
std::string reason_of(const Exit& exit) {
  std::string_view line = first_line_after(exit.error, "Error: ");
  if (line.empty()) line = first_line_after(exit.error, "");
  if (line.empty()) return exit.reason();
  std::string reason = terminal::printable(line);
  std::string_view cause = first_line_after(exit.error, "Caused by:");
  if (cause.starts_with("0: ")) cause.remove_prefix(3);
  if (!cause.empty()) reason += ": " + terminal::printable(cause);
  return reason;
}

bool is_another_key(const Exit& exit) {
  return says(exit, "incorrect key") || says(exit, "Wrong encryption key") ||
         says(exit, "does not match the data on the server");
}

// Explains an error of Atuin about its account, and what to do about it.
std::string explain(const Exit& exit) {
  if (says(exit, "not logged in") || says(exit, "Not logged in")) {
    return "Atuin is not logged in; run `atuin login`, or `atuin register` for a new account, then "
           "repeat this command";
  }
  if (is_another_key(exit)) {
    return "the encryption key on this machine is not the account's; run `atuin key` on a machine "
           "that syncs, then `atuin store rekey KEY` here with the key that it prints";
  }
  if (says(exit, "encryption key")) {
    if (says(exit, "does not exist")) return no_key;
    return fmt::format(
        "Atuin cannot read the encryption key of this machine ({}); move the key away "
        "(`atuin info` prints its path), then run `atuin login` with the key that `atuin key` "
        "prints on another machine of the account",
        reason_of(exit));
  }
  if (says(exit, "error sending request")) {
    return fmt::format(
        "the sync server cannot be reached ({}); what is set on this machine is kept, and the next "
        "`atuin sync` sends it",
        reason_of(exit));
  }
  return reason_of(exit);
}

// A line of `atuin info`: "key path: /…", in quotes in some versions.
std::filesystem::path path_in(const std::string& info, std::string_view name) {
  std::string_view path = first_line_after(info, fmt::format("{}: ", name));
  if (path.size() > 1 && path.front() == '"' && path.back() == '"') {
    path = path.substr(1, path.size() - 2);
  }
  return path;
}

bool may_exist(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error) || error;  // if it cannot be checked, it may exist
}

// Whether `--help` lists a command, or prints nothing readable.
bool lists(const Exit& help, std::string_view command) {
  return help.output.empty() ||
         help.output.find(fmt::format("\n  {} ", command)) != std::string::npos;
}

Exit run_atuin(const std::string& program, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), program);
  Command command;
  command.arguments = std::move(arguments);
  command.ends_with_parent = true;
  return nixbuild::run(std::move(command));
}

}  // namespace

std::optional<std::string> Atuin::find() {
  return find_program("atuin", config::process_environment("PATH").value_or("/usr/bin:/bin"));
}

Atuin::Atuin() {
  const auto found = find();
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
  if (!exit.ok()) throw Error(fmt::format("atuin {}: {}", shown, explain(exit)));
  return exit.output;
}

AliasStore Atuin::store() const {
  const Exit dotfiles = run_atuin(program_, {"dotfiles", "alias", "--help"});
  if (dotfiles.ok() && lists(dotfiles, "set")) return AliasStore::dotfiles;
  if (dotfiles.ok() || !says(dotfiles, "'dotfiles'")) return AliasStore::key_value;
  // Without a dotfiles command, it is either too old or too new.
  const Exit values = run_atuin(program_, {"kv", "--help"});
  if (values.ok() && !values.output.empty() && lists(values, "delete"))
    return AliasStore::key_value;
  throw Error(fmt::format(
      "atuin dotfiles: {}; Atuin 18 or newer is needed, or use --install to put the aliases into "
      "the shell's startup file",
      reason_of(dotfiles)));
}

bool Atuin::has_key() const {
  const std::filesystem::path key = path_in(run_atuin(program_, {"info"}).output, "key path");
  return key.empty() || may_exist(key);
}

void Atuin::require_key(AliasStore store) const {
  if (has_key()) return;
  // Without an account, Atuin may create its own key: a login then replaces that key.
  const std::filesystem::path session =
      path_in(run_atuin(program_, {"info"}).output, "session path");
  if (store == AliasStore::dotfiles && !session.empty() && !may_exist(session)) return;
  throw Error(no_key);
}

bool Atuin::is_logged_in() const {
  const Exit exit = run_atuin(program_, {"status"});
  const std::string said = exit.output + exit.error;
  return said.find("not logged in") == std::string::npos;
}

std::optional<AliasList> Atuin::dotfiles() const {
  const Exit exit = run_atuin(program_, {"dotfiles", "alias", "list"});
  if (says(exit, "not enabled") || says(exit, "unrecognized subcommand")) return std::nullopt;
  if (!exit.ok()) throw Error(fmt::format("atuin dotfiles alias list: {}", explain(exit)));
  return parse_alias_listing(exit.output);
}

void Atuin::set(const std::string& name, const std::string& command) const {
  run({"dotfiles", "alias", "set", "--", name, command});
}

void Atuin::remove(const std::string& name) const {
  run({"dotfiles", "alias", "delete", "--", name});
}

std::string Atuin::value(const char* key) const {
  return run({"kv", "get", "--namespace", own_namespace, key});
}

void Atuin::set_value(const char* key, const std::string& text) const {
  if (text.size() > most_value) {
    throw Error(fmt::format(
        "the list of aliases is {} bytes long, and Atuin syncs at most {}; remove some of them",
        text.size(), most_value));
  }
  const Exit exit =
      run_atuin(program_, {"kv", "set", "--namespace", own_namespace, "--key", key, "--", text});
  if (!exit.ok()) throw Error(fmt::format("atuin kv set: {}", explain(exit)));
}

std::optional<SyncedList> Atuin::list() const {
  const std::string text = value(list_key);
  if (text.find_first_not_of(" \n") == std::string::npos) return std::nullopt;
  return parse_synced_list(text);
}

void Atuin::set_list(const SyncedList& list) const {
  set_value(list_key, format_synced_list(list));
}

AliasList Atuin::aliases() const {
  return effective_aliases(list().value_or(SyncedList()), dotfiles());
}

AliasRecord Atuin::record() const {
  return parse_alias_record(value(record_key));
}

void Atuin::set_record(const AliasRecord& record) const {
  set_value(record_key, format_alias_record(record));
}

std::optional<std::string> Atuin::sync() const {
  const Exit exit = run_atuin(program_, {"sync"});
  if (is_another_key(exit)) throw Error(explain(exit));
  if (exit.ok()) return std::nullopt;
  return explain(exit);
}

void Atuin::read_synced() const {
  run_atuin(program_, {"kv", "rebuild"});
}

bool Atuin::syncs_by_itself() const {
  return run_atuin(program_, {"config", "get", "--resolved", "auto_sync"})
      .output.starts_with("true");
}

}  // namespace nixbuild::cli
