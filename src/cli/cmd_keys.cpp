#include <CLI/CLI.hpp>

#include "cli/command.hpp"

namespace nixbuild::cli {

void add_keys_command(CLI::App&, Action&) {}

}  // namespace nixbuild::cli
