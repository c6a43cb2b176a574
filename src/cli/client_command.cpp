#include "cli/client_command.hpp"

#include <CLI/CLI.hpp>

namespace nixbuild::cli {

void ClientCommand::add_repository(CLI::App& command) {
  command
      .add_option("REPO", repository, "A repository that the server builds (default: its first)")
      ->type_name("");
}

ApiClient ClientCommand::connect(std::optional<std::chrono::milliseconds> patience) {
  flags_.load();
  return ApiClient(configuration_.client, patience);
}

}  // namespace nixbuild::cli
