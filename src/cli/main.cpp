// The program's entry: reads the command line, runs the command, turns errors into exit codes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <memory>

#include "cli/command.hpp"
#include "cli/help_formatter.hpp"
#include "common/base/error.hpp"
#include "common/base/log.hpp"

namespace {

using namespace nixbuild;

constexpr const char* footer = R"(`nixbuild COMMAND --help` explains a command.

Exit codes: 0 done, 1 what was asked for failed, 2 usage or configuration, 3 the server cannot be
reached, 4 the server refused. NIXBUILD_LOG=debug shows more of what goes on.)";

ExitCode run(int argc, char** argv) {
  CLI::App app("nixbuild: a Nix build server with a signed binary cache, and its clients");
  app.name("nixbuild");
  app.set_help_flag("-h,--help", "Show this help");
  app.set_version_flag("--version", "nixbuild " NIXBUILD_VERSION, "Show the version");
  app.require_subcommand(1);
  app.footer(footer);
  app.formatter(std::make_shared<cli::HelpFormatter>());

  cli::Action action;
#ifdef NIXBUILD_SERVER
  cli::add_serve_cache_command(app, action);
#endif
  cli::add_config_command(app, action);
  cli::add_keys_command(app, action);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool is_help = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
    app.exit(error);
    return is_help ? ExitCode::done : ExitCode::usage;
  }
  return action();
}

int report(const char* message, ExitCode code) {
  fmt::print(stderr, "error: {}\n", message);
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    log::init();
    return static_cast<int>(run(argc, argv));
  } catch (const Error& error) {
    return report(error.what(), error.exit_code());
  } catch (const std::exception& error) {
    return report(error.what(), ExitCode::failed);
  }
}
