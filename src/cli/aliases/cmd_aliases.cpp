#include <fmt/format.h>

#include <memory>
#include <optional>
#include <string>

#include "cli/aliases/alias_list.hpp"
#include "cli/aliases/alias_plan.hpp"
#include "cli/aliases/atuin.hpp"
#include "cli/aliases/shell.hpp"
#include "cli/aliases/startup_file.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "cli/setting_flags.hpp"
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
};

Shell shell_of(const Aliases& command) {
  if (!command.shell.empty()) return parse_shell(command.shell);
  const auto own = config::process_environment("SHELL");
  if (!own) throw UsageError("SHELL is not set; --shell says for which shell: bash, zsh or fish");
  return parse_shell(*own);
}

void apply(const Atuin& atuin, const AliasPlan& plan, const AliasRecord& record,
           const AliasList& present) {
  if (plan.before != record) atuin.set_record(plan.before);
  for (const auto& [name, command] : plan.set) {
    atuin.set(name, command);
    say(fmt::format("✓ {} = {}", name, command));
  }
  for (const std::string& name : plan.remove) {
    atuin.remove(name);
    say(fmt::format("✓ {} removed", terminal::printable(name)));
  }
  if (plan.after != plan.before) atuin.set_record(plan.after);
  for (const std::string& name : plan.taken) {
    say(fmt::format("! {} stays '{}', which was not set by nixbuild; --force replaces it", name,
                    terminal::printable(present.at(name))));
  }
}

// Atuin exits 0 also when it did nothing.
void expect_applied(const Atuin& atuin, const AliasPlan& plan) {
  const AliasList now = atuin.aliases();
  for (const auto& [name, command] : plan.set) {
    const auto there = now.find(name);
    if (there == now.end() || there->second != command) {
      throw Error(
          fmt::format("Atuin was told to set the alias {}, and did not; `atuin dotfiles "
                      "alias set {} x` may say why",
                      name, name));
    }
  }
  for (const std::string& name : plan.remove) {
    if (now.contains(name)) {
      throw Error(fmt::format("Atuin was told to remove the alias {}, and did not", name));
    }
  }
}

ExitCode sync(const Aliases& command, const AliasList& wanted) {
  const Atuin atuin;
  atuin.aliases();  // first of all: whether it can do this at all
  // What other machines have set is to be known before anything is decided.
  std::optional<std::string> trouble = atuin.sync();
  const AliasList present = atuin.aliases();
  const AliasRecord record = atuin.record();
  const AliasPlan plan =
      plan_aliases(wanted, present, record, command.force ? Others::replace : Others::keep);
  apply(atuin, plan, record, present);
  expect_applied(atuin, plan);
  // Where nothing was recorded or changed, there is nothing to send.
  if (!trouble && plan.after != record) trouble = atuin.sync();

  say(fmt::format("✓ {} of {} aliases are in Atuin", wanted.size() - plan.taken.size(),
                  wanted.size()));
  if (trouble) {
    say(fmt::format("✗ other machines do not get them: {}", *trouble));
    return ExitCode::failed;
  }
  say("✓ synced: a new shell on any machine of the account has them");
  return plan.taken.empty() ? ExitCode::done : ExitCode::failed;
}

ExitCode install(const Aliases& command, const AliasList& wanted) {
  const Shell shell = shell_of(command);
  const auto file = startup_file(shell);
  const Change change = install_aliases(shell, wanted, file);
  say(fmt::format("✓ the aliases are {}in {}; a new shell has them",
                  change == Change::none ? "already " : "", file.string()));
  return ExitCode::done;
}

ExitCode run(Aliases& command) {
  command.flags.load();
  const AliasList wanted = wanted_aliases(command.configuration);
  if (command.sync) return sync(command, wanted);
  if (command.install) return install(command, wanted);
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

--sync needs Atuin with its dotfiles turned on. It changes no alias that it has not set itself, and
removes those that it has set and that are no longer wanted. Exit code 1 also where an alias is
somebody else's, or the account could not be synced.

Examples:
  nixbuild aliases --sync
  nixbuild aliases --sync --extra 'nb=nixbuild' --without bl
  nixbuild aliases --install --shell zsh)help");
  auto state = std::make_shared<Aliases>(command);
  command.option("--shell bash|zsh|fish", state->shell,
                 "The shell to write for (default: that of $SHELL)");
  OptionSpec& sync = command.flag(
      "--sync", state->sync, "Set the aliases in Atuin, which brings them to all of its machines");
  command.flag("--force", state->force, "Replace aliases of these names that others have set")
      .needs(sync);
  command
      .flag("--install", state->install,
            "Write the aliases into the shell's startup file, for shells without Atuin")
      .excludes(sync);
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
