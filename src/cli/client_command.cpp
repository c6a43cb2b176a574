#include "cli/client_command.hpp"

#include "common/config/service_settings.hpp"

namespace nixbuild::cli {

void ClientCommand::add_repository(CommandSpec& command) {
  command.argument("REPO", repository, "A repository that the server builds (default: its first)")
      .checked(config::check_repository_name);
}

ApiClient ClientCommand::connect(std::optional<std::chrono::milliseconds> patience) {
  flags_.load();
  return ApiClient(configuration_.client, patience);
}

}  // namespace nixbuild::cli
