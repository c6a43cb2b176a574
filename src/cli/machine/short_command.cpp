#include "cli/machine/short_command.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <span>

namespace nixbuild::cli {

std::optional<std::string> program_in_path(const std::string& name) {
  const char* path = std::getenv("PATH");
  return find_program(name, path == nullptr ? "" : path);
}

std::optional<Exit> run_briefly(ShortCommand command) {
  const auto program = program_in_path(command.arguments.front());
  if (!program) return std::nullopt;
  Command started;
  started.arguments = std::move(command.arguments);
  started.arguments.front() = *program;
  started.environment = std::move(command.environment);
  Subprocess process(std::move(started));
  const std::array children = {&process};
  const auto deadline = std::chrono::steady_clock::now() + command.limit;
  if (wait_for_any(std::span<Subprocess* const>(children), -1, deadline) == Wake::ended) {
    return process.exit();
  }
  Exit exit;
  exit.code = 124;  // like timeout(1)
  exit.error = fmt::format("no answer within {} s", command.limit.count());
  return exit;  // the destructor of `process` kills the child
}

}  // namespace nixbuild::cli
