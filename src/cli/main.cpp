// The program's entry: reads the command line, runs the command, turns errors into exit codes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/command.hpp"
#include "cli/help_formatter.hpp"
#include "cli/output.hpp"
#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/base/terminal.hpp"
#include "common/base/version.hpp"

namespace {

using namespace nixbuild;

constexpr const char* footer = R"(`nixbuild COMMAND --help` explains a command.

Exit codes: 0 done, 1 what was asked for failed, 2 usage or configuration, 3 the server cannot be
reached, 4 the server refused. NIXBUILD_LOG=debug shows more of what goes on.)";

struct Command {
  std::string_view name;
  void (*add)(CLI::App&, cli::Action&);
};

// In the order in which --help shows them.
constexpr Command commands[] = {
    {"trigger", cli::add_trigger_command},
    {"status", cli::add_status_command},
    {"logs", cli::add_logs_command},
    {"cancel", cli::add_cancel_command},
    {"builds", cli::add_builds_command},
    {"info", cli::add_info_command},
    {"health", cli::add_health_command},
    {"system-update", cli::add_system_update_command},
    {"aliases", cli::add_aliases_command},
#ifdef NIXBUILD_SERVER
    {"run-build", cli::add_run_build_command},
    {"serve-api", cli::add_serve_api_command},
    {"serve-cache", cli::add_serve_cache_command},
#endif
    {"bootstrap", cli::add_bootstrap_command},
    {"doctor", cli::add_doctor_command},
    {"keys", cli::add_keys_command},
    {"config", cli::add_config_command},
    {"complete", cli::add_complete_command},
};

// The names by which the program is called as one of its commands.
struct Link {
  std::string_view name;
  std::string_view command;
};
constexpr Link links[] = {
    {"build-trigger", "trigger"},
    {"build-status", "status"},
    {"build-logs", "logs"},
    {"bootstrap-new-machine", "bootstrap"},
    {"bt", "trigger"},
    {"bs", "status"},
    {"bl", "logs"},
    {"system-update", "system-update"},
};

// The command line's words behind the program's name, with the command where a link stands for it.
std::vector<std::string> words_of(int argc, char** argv) {
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  std::string_view called = argc > 0 ? argv[0] : "";
  called.remove_prefix(called.rfind('/') + 1);  // npos + 1 is 0
  for (const Link& link : links) {
    if (called != link.name) continue;
    const bool asks_version = !words.empty() && words.front() == "--version";
    if (!asks_version) words.insert(words.begin(), std::string(link.command));
  }
  return words;
}

// The innermost command that the line names, and that command's own words.
std::pair<const CLI::App*, std::string> command_of(const CLI::App& app) {
  const CLI::App* command = &app;
  std::string words = app.get_name();
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    words += ' ' + command->get_name();
  }
  return {command, words};
}

// What is wrong with the command line. CLI11 says of a command that there is none only that one is
// missing.
std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const auto [command, words] = command_of(app);
  std::string what = error.what();
  if (command->get_require_subcommand_min() > 0) {
    const std::vector<std::string> unknown = command->remaining();
    const std::string first = unknown.empty() ? "" : terminal::printable(unknown.front());
    if (first.empty()) return fmt::format("a command is missing; `{} --help` lists them", words);
    return fmt::format("there is no {} '{}'; `{} --help` lists them",
                       first.starts_with('-') ? "option" : "command", first, words);
  }
  // "The following ..." goes on behind "error: "; "--flag: ..." and "REPO: ..." stay as they are.
  const auto is_lower = [](char c) { return c >= 'a' && c <= 'z'; };
  if (what.size() > 1 && what[0] >= 'A' && what[0] <= 'Z' && is_lower(what[1])) {
    what[0] = static_cast<char>(what[0] + ('a' - 'A'));
  }
  return fmt::format("{}; `{} --help` tells what can be given", what, words);
}

ExitCode run(std::vector<std::string> words) {
  CLI::App app("nixbuild: a Nix build server with a signed binary cache, and its clients");
  app.name("nixbuild");
  app.set_help_flag("-h,--help", "Show this help");
  app.set_version_flag("--version", "nixbuild " NIXBUILD_VERSION, "Show the version");
  app.require_subcommand(1);
  app.footer(footer);
  app.formatter(std::make_shared<cli::HelpFormatter>());

  // Only the command that is named is set up: most of a short command's time would go into the
  // rest.
  cli::Action action;
  const auto* named = std::find_if(std::begin(commands), std::end(commands), [&](const Command& c) {
    return !words.empty() && words.front() == c.name;
  });
  for (const Command& command : commands) {
    if (named == std::end(commands) || &command == named) command.add(app, action);
  }

  try {
    std::reverse(words.begin(), words.end());  // as CLI11 takes a vector
    app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    const bool is_help = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
    if (!is_help) throw UsageError(explain(app, error));
    std::ostringstream text;
    app.exit(error, text);
    cli::print(text.str());
    return ExitCode::done;
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
    return static_cast<int>(run(words_of(argc, argv)));
  } catch (const Error& error) {
    return report(error.what(), error.exit_code());
  } catch (const std::exception& error) {
    return report(error.what(), ExitCode::failed);
  }
}
