// The program's entry point: parses the command line, runs the command, turns errors into exit
// codes.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/command.hpp"
#include "cli/output.hpp"
#include "common/base/error.hpp"
#include "common/base/log.hpp"
#include "common/base/terminal.hpp"
#include "common/base/version.hpp"
#include "common/config/problems.hpp"

namespace {

using namespace nixbuild;

constexpr const char* summary =
    "nixbuild: a Nix build server with a signed binary cache, and its clients";
constexpr const char* footer =
    R"(`nixbuild help COMMAND` explains a command.

Exit codes: 0 success, 1 failure (such as a failed build), 2 invalid command line or configuration,
3 the server is unreachable, 4 the server refused or failed. Set NIXBUILD_LOG=debug for a detailed
log on standard error.)";

void add_complete_command(cli::CommandSpec& program);

struct Command {
  std::string_view name;
  void (*add)(cli::CommandSpec& program);
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
    {"proxy", cli::add_proxy_command},
    {"system-update", cli::add_system_update_command},
    {"aliases", cli::add_aliases_command},
#ifdef NIXBUILD_SERVER
    {"run-build", cli::add_run_build_command},
    {"serve-api", cli::add_serve_api_command},
    {"serve-cache", cli::add_serve_cache_command},
    {"serve-proxy", cli::add_serve_proxy_command},
#endif
    {"bootstrap", cli::add_bootstrap_command},
    {"doctor", cli::add_doctor_command},
    {"keys", cli::add_keys_command},
    {"config", cli::add_config_command},
    {"complete", add_complete_command},
};

// The links by which the program is called as one of its commands.
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

// Translates the name that the program is called by, and "help" and "version", into words of the
// table.
void resolve(std::string_view called, std::vector<std::string>& words) {
  called.remove_prefix(called.rfind('/') + 1);  // npos + 1 is 0
  const std::string first = words.empty() ? "" : words.front();
  for (const Link& link : links) {
    if (called != link.name) continue;
    if (first != "--version" && first != "-V") words.emplace(words.begin(), link.command);
    return;
  }
  if (first == "version") words.front() = "--version";
  if (first == "help") {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
}

// Only the named command is described: for a short command, describing the others would take most
// of the time.
void describe(cli::CommandSpec& program, std::string_view called, std::vector<std::string>& words) {
  resolve(called, words);
  program.footer(footer);
  program.action_flag("-V,--version", "Show the version", [] {
    cli::print_line("nixbuild " NIXBUILD_VERSION);
    return ExitCode::done;
  });
  program.action([&program] {
    cli::print_text(cli::help(program));
    return ExitCode::done;
  });
  const auto* named = std::find_if(std::begin(commands), std::end(commands), [&](const Command& c) {
    return !words.empty() && words.front() == c.name;
  });
  for (const Command& command : commands) {
    if (named == std::end(commands) || &command == named) command.add(program);
  }
}

void add_complete_command(cli::CommandSpec& program) {
  cli::add_complete_command(program, describe);
}

ExitCode run(int argc, char** argv) {
  std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  cli::CommandSpec program("nixbuild", summary);
  describe(program, argc > 0 ? argv[0] : "", words);
  return cli::run(program, std::move(words));
}

int report(const char* message, ExitCode code) {
  // Parts of the message may come from a server or a repository.
  fmt::print(stderr, "error: {}\n", terminal::printable_lines(message));
  return static_cast<int>(code);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    log::init();
    return static_cast<int>(run(argc, argv));
  } catch (const config::ConfigurationError& error) {
    for (const std::string& problem : error.problems())
      report(problem.c_str(), error.exit_code());
    return static_cast<int>(error.exit_code());
  } catch (const Error& error) {
    return report(error.what(), error.exit_code());
  } catch (const std::exception& error) {
    return report(error.what(), ExitCode::failed);
  }
}
