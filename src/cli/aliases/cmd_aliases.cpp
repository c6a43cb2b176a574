#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>

#include "cli/aliases/alias_list.hpp"
#include "cli/aliases/alias_plan.hpp"
#include "cli/aliases/atuin.hpp"
#include "cli/aliases/local_copy.hpp"
#include "cli/aliases/shell.hpp"
#include "cli/aliases/startup_file.hpp"
#include "cli/aliases/synced_list.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "cli/setting_flags.hpp"
#include "common/base/background.hpp"
#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/config/load.hpp"

namespace nixbuild::cli {
namespace {

struct Aliases {
  explicit Aliases(CommandSpec& app) : flags(app, configuration, {"aliases"}) {}

  config::Configuration configuration;
  SettingFlags flags;
  std::string shell;
  bool sync = false;
  bool force = false;
  bool install = false;
  bool from_atuin = false;
};

constexpr unsigned longest_refresh = 120;  // seconds

Shell shell_of(const Aliases& command) {
  if (!command.shell.empty()) return parse_shell(command.shell);
  const auto own = config::process_environment("SHELL");
  if (!own) throw UsageError("SHELL is not set; --shell says for which shell: bash, zsh or fish");
  return parse_shell(*own);
}

// The aliases of an account.
struct Account {
  explicit Account(const Atuin& atuin)
      : dotfiles(atuin.dotfiles()), list(atuin.list()), record(atuin.record()) {}

  AliasList present() const { return effective_aliases(list.value_or(SyncedList()), dotfiles); }
  // All aliases that this program has set, including those in its own list.
  AliasRecord own() const {
    AliasRecord own = record;
    if (list) {
      for (const auto& [name, command] : list->aliases)
        own[name].insert(command);
    }
    return own;
  }

  std::optional<AliasList> dotfiles;
  std::optional<SyncedList> list;
  AliasRecord record;
};

void say_plan(const AliasPlan& plan, const AliasList& present) {
  for (const auto& [name, command] : plan.set)
    say(fmt::format("✓ {} = {}", name, command));
  for (const std::string& name : plan.remove)
    say(fmt::format("✓ {} removed", terminal::printable(name)));
  for (const std::string& name : plan.taken) {
    say(fmt::format("! {} stays '{}', which was not set by nixbuild; --force replaces it", name,
                    terminal::printable(present.at(name))));
  }
}

// Atuin exits 0 even if it did nothing.
void expect_applied(const AliasPlan& plan, const AliasList& now) {
  constexpr const char* otherwise =
      "use --install to put the aliases into the shell's startup file";
  for (const auto& [name, command] : plan.set) {
    const auto there = now.find(name);
    if (there == now.end() || there->second != command) {
      throw Error(
          fmt::format("Atuin was told to set the alias {}, and did not; {}", name, otherwise));
    }
  }
  for (const std::string& name : plan.remove) {
    if (now.contains(name)) {
      throw Error(
          fmt::format("Atuin was told to remove the alias {}, and did not; {}", name, otherwise));
    }
  }
}

// Each returns whether it changed anything, which then has to be synced.

bool apply_to_dotfiles(const Atuin& atuin, const Account& account, const AliasList& wanted,
                       AliasPlan plan) {
  if (account.list) include_superseded(plan, *account.list, *account.dotfiles, wanted);
  if (plan.before != account.record) atuin.set_record(plan.before);
  for (const auto& [name, command] : plan.set)
    atuin.set(name, command);
  for (const std::string& name : plan.remove)
    atuin.remove(name);
  const std::optional<AliasList> dotfiles = atuin.dotfiles();
  expect_applied(plan, dotfiles.value_or(AliasList()));
  bool is_changed = plan.after != account.record || !plan.set.empty() || !plan.remove.empty();
  if (account.list) {
    // For the machines that only read this list. The dotfiles agree with it now.
    SyncedList next = next_list(*account.list, dotfiles, wanted, plan);
    next.superseded.clear();
    if (next != *account.list) {
      atuin.set_list(next);
      is_changed = true;
    }
  }
  if (plan.after != plan.before) atuin.set_record(plan.after);
  return is_changed;
}

bool apply_to_list(const Atuin& atuin, const Account& account, const AliasList& wanted,
                   const AliasPlan& plan) {
  const SyncedList list = account.list.value_or(SyncedList());
  const SyncedList next = next_list(list, account.dotfiles, wanted, plan);
  if (plan.before != account.record) atuin.set_record(plan.before);
  if (!account.list || next != list) atuin.set_list(next);
  if (plan.after != plan.before) atuin.set_record(plan.after);
  return !account.list || next != list || plan.after != account.record;
}

// For an Atuin whose aliases this program loads into shells.
void serve_shells(AliasList now) {
  for (const auto& [name, command] : take_unloadable(now)) {
    say(fmt::format("! {} is in Atuin, but no shell loads it: not every shell accepts '{}'",
                    terminal::printable(name), terminal::printable(command)));
  }
  write_local_copy(now);
  try {
    const auto own = config::process_environment("SHELL");
    if (own && loads_synced_aliases(parse_shell(*own))) return;
  } catch (const UsageError&) {
    // another shell
  }
  say("! no startup file of your shell loads them; nixbuild aliases --install --from-atuin adds "
      "the line, which each machine needs once");
}

ExitCode sync(const Aliases& command, const AliasList& wanted) {
  const Atuin atuin;
  const AliasStore store = atuin.store();
  atuin.require_key(store);
  if (!atuin.dotfiles() && store == AliasStore::dotfiles) {
    throw UsageError(
        "Atuin does not keep aliases: its configuration, usually ~/.config/atuin/config.toml, "
        "needs these two lines (home-manager: programs.atuin.settings.dotfiles.enabled = true)\n\n"
        "[dotfiles]\nenabled = true");
  }
  // Sync first, to learn what other machines have set.
  std::optional<std::string> trouble = atuin.sync();
  atuin.read_synced();
  const Account account(atuin);
  const AliasList present = account.present();
  AliasPlan plan =
      plan_aliases(wanted, present, account.own(), command.force ? Others::replace : Others::keep);
  const bool is_changed = store == AliasStore::dotfiles
                              ? apply_to_dotfiles(atuin, account, wanted, plan)
                              : apply_to_list(atuin, account, wanted, plan);
  const AliasList now = atuin.aliases();
  expect_applied(plan, now);
  say_plan(plan, present);
  // If nothing was recorded or changed, there is nothing to sync.
  if (!trouble && is_changed) trouble = atuin.sync();

  say(fmt::format("✓ {} of {} aliases are in Atuin", wanted.size() - plan.taken.size(),
                  wanted.size()));
  if (store == AliasStore::key_value) serve_shells(now);
  if (trouble) {
    say(fmt::format("✗ other machines do not get them: {}", *trouble));
    return ExitCode::failed;
  }
  say("✓ synced: a new shell on any machine of the account has them");
  return plan.taken.empty() ? ExitCode::done : ExitCode::failed;
}

ExitCode install(const Aliases& command) {
  const Shell shell = shell_of(command);
  const auto file = startup_file(shell);
  const std::string lines = command.from_atuin
                                ? load_line(shell)
                                : alias_lines(shell, wanted_aliases(command.configuration));
  const Change change = install_lines(lines, file);
  say(fmt::format(
      "✓ {} {}in {}; a new shell has them",
      command.from_atuin ? "the line that loads the aliases from Atuin is" : "the aliases are",
      change == Change::none ? "already " : "", file.string()));
  return ExitCode::done;
}

// Runs whenever a shell starts, so it reads no configuration and reports no errors.
ExitCode print_local_copy(Shell shell) {
  try {
    print(alias_lines(shell, read_local_copy()));
    if (Atuin::find()) run_in_background(refresh_local_copy, longest_refresh);
  } catch (const Error&) {
  }
  return ExitCode::done;
}

ExitCode run(Aliases& command) {
  if (command.from_atuin && !command.install) return print_local_copy(shell_of(command));
  command.flags.load();
  if (command.install) return install(command);
  const AliasList wanted = wanted_aliases(command.configuration);
  if (command.sync) return sync(command, wanted);
  print(alias_lines(shell_of(command), wanted));
  return ExitCode::done;
}

}  // namespace

void add_aliases_command(CommandSpec& program) {
  CommandSpec& command =
      program.add_command("aliases", "Print shell aliases, or give them to every machine");
  command.footer(
      R"help(The aliases are bt, bs, bl (trigger, status, logs), system-update, and rebuild, which is
system-update without update and gc.

Without --sync and --install, lines for the shell go to standard output:
  eval "$(nixbuild aliases --shell bash)"

--sync keeps the aliases in Atuin, which brings them to every machine of the account. It changes no
alias that it has not set itself, and removes those that it has set and that are no longer wanted.
Atuin before 18.23 loads them itself, if its dotfiles are enabled. A newer one needs this line behind
`atuin init` in the shell's startup file, for fish with `| source`; it reads a copy that is refreshed
in the background, and is silent if Atuin is missing or offline:
  eval "$(nixbuild aliases --shell zsh --from-atuin)"

Exit code 1 also means that an alias is somebody else's, or that the account could not be synced.

Examples:
  nixbuild aliases --sync
  nixbuild aliases --sync --extra 'nb=nixbuild' --without bl
  nixbuild aliases --install --from-atuin
  nixbuild aliases --install --shell zsh)help");
  auto state = std::make_shared<Aliases>(command);
  command.option("--shell bash|zsh|fish", state->shell,
                 "The shell to write for (default: that of $SHELL)");
  OptionSpec& sync = command.flag(
      "--sync", state->sync, "Set the aliases in Atuin, which brings them to all of its machines");
  command
      .flag("--from-atuin", state->from_atuin,
            "Print the aliases that Atuin has brought here, those of every machine, instead")
      .excludes(sync);
  command.flag("--force", state->force, "Replace aliases of these names that others have set")
      .needs(sync);
  command
      .flag("--install", state->install,
            "Write the aliases into the shell's startup file, for shells without Atuin; with "
            "--from-atuin, the line that loads them")
      .excludes(sync);
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
