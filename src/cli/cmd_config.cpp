#include <memory>
#include <string>

#include "cli/aliases/alias_list.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "cli/setting_flags.hpp"
#include "cli/settings_reference.hpp"
#include "common/config/configuration.hpp"
#include "common/config/problems.hpp"

namespace nixbuild::cli {
namespace {

constexpr const char* footer = R"(`nixbuild config COMMAND --help` explains a command.

The configuration file is TOML with the following keys. Except for those of [[repository]], each key
is also an environment variable: NIXBUILD_TABLE_KEY, or NIXBUILD_KEY for keys above every table.

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

  CommandSpec& check = command.add_command("check", "Report every error in the configuration");
  check.footer(
      R"(The exit code is 0 if all files and variables are valid, else 2. Each error names file, line and key.)");
  auto checked = std::make_shared<ConfigCommand>(check);
  check.action([checked] {
    config::Problems problems;
    problems.attempt([&] { checked->flags.load(); });
    problems.attempt([&] { checked->configuration.repositories.repositories(); });
    problems.attempt([&] { wanted_aliases(checked->configuration); });
    problems.throw_if_any();
    say("✓ The configuration is valid");
    return ExitCode::done;
  });

  CommandSpec& show = command.add_command("show", "Print the effective configuration");
  show.footer(
      R"(Prints the configuration in effect as a configuration file. A comment after each value says where it
comes from: a file and line, a variable, or the default. Passwords and tokens in URLs are masked.)");
  auto shown = std::make_shared<ConfigCommand>(show);
  show.action([shown] {
    shown->flags.load();
    print(config::render(shown->configuration));
    return ExitCode::done;
  });
}

}  // namespace nixbuild::cli
