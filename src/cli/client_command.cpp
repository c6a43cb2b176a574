#include "cli/client_command.hpp"

#include "common/base/error.hpp"
#include "common/config/service_settings.hpp"

namespace nixbuild::cli {

CLI::Validator repository_name() {
  const auto complaint = [](const std::string& name) -> std::string {
    try {
      config::check_repository_name(name);
      return {};
    } catch (const UsageError& error) {
      return error.what();
    }
  };
  return {complaint, ""};
}

void ClientCommand::add_repository(CLI::App& command) {
  command
      .add_option("REPO", repository, "A repository that the server builds (default: its first)")
      ->type_name("")
      ->check(repository_name());
}

ApiClient ClientCommand::connect(std::optional<std::chrono::milliseconds> patience) {
  flags_.load();
  return ApiClient(configuration_.client, patience);
}

}  // namespace nixbuild::cli
