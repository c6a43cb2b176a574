// Shared by the commands that talk to a build server.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "cli/api_client.hpp"
#include "cli/command_line.hpp"
#include "cli/setting_flags.hpp"
#include "common/config/configuration.hpp"

namespace nixbuild::cli {

class ClientCommand {
 public:
  // Adds --server, --token-file and --config.
  explicit ClientCommand(CommandSpec& command)
      : flags_(command, configuration_, {"client.server", "client.token_file"}) {}
  ClientCommand(const ClientCommand&) = delete;
  ClientCommand& operator=(const ClientCommand&) = delete;

  // The positional argument REPO. Names that no repository can have are refused without asking a
  // server.
  void add_repository(CommandSpec& command);
  // The positional argument REPO|ID, and --repository for a repository whose name is a number.
  void add_repository_or_build(CommandSpec& command, const std::string& help);

  // Reads the settings; no connection is made yet. Throws UsageError.
  ApiClient connect();
  // The same for callers that must not wait or print anything.
  ApiClient connect_quietly(std::chrono::milliseconds timeout);

  // The newest build of the repository, or the build that REPO|ID names.
  protocol::BuildStatus status(ApiClient& api) const;
  // The build that REPO|ID names.
  protocol::Build named_build(ApiClient& api) const;
  // Valid after connect() has read the settings.
  const config::ClientOptions& options() const noexcept { return configuration_.client; }

  std::string repository;  // empty: the server's first
  // The build that REPO|ID names, valid after the command line has been read.
  std::optional<std::int64_t> build;

 private:
  config::Configuration configuration_;
  SettingFlags flags_;
};

}  // namespace nixbuild::cli
