#include <memory>
#include <string>

#include "cli/aliases/alias_list.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "cli/setting_flags.hpp"
#include "cli/settings_reference.hpp"
#include "common/config/configuration.hpp"

namespace nixbuild::cli {
namespace {

constexpr const char* footer = R"(`nixbuild config COMMAND --help` explains a command.

The configuration file is TOML; here is what can stand in it. But for those of [[repository]], each
key is also a variable: NIXBUILD_TABLE_KEY, or NIXBUILD_KEY for those above every table.

)";

struct ConfigCommand {
  explicit ConfigCommand(CommandSpec& command) : flags(command, configuration, {}) {}

  config::Configuration configuration;
  SettingFlags flags;
};

}  // namespace

void add_config_command(CommandSpec& program) {
  CommandSpec& command = program.add_command("config", "Check or show the configuration");
  command.footer([] { return std::string(footer) + settings_reference(); });

  CommandSpec& check = command.add_command("check", "Say what is wrong with the configuration");
  check.footer(
      R"(Exits 0 when every file and variable can be followed, 2 when not, naming file, line and key.)");
  auto checked = std::make_shared<ConfigCommand>(check);
  check.action([checked] {
    checked->flags.load();
    static_cast<void>(checked->configuration.repositories.repositories());
    static_cast<void>(wanted_aliases(checked->configuration));
    say("✓ The configuration is good");
    return ExitCode::done;
  });

  CommandSpec& show = command.add_command("show", "Print the effective configuration");
  show.footer(
      R"(Prints a configuration file that says what is in force, with a comment behind each value that
tells where it comes from: a file and line, a variable, or the default. Passwords and tokens in URLs
are masked.)");
  auto shown = std::make_shared<ConfigCommand>(show);
  show.action([shown] {
    shown->flags.load();
    print(config::render(shown->configuration));
    return ExitCode::done;
  });
}

}  // namespace nixbuild::cli
