#include <memory>
#include <string>

#include "cli/command.hpp"
#include "cli/setting_flags.hpp"
#include "common/base/log.hpp"
#include "common/config/configuration.hpp"
#include "common/config/state_dir.hpp"
#include "server/api/serve_api.hpp"

namespace nixbuild::cli {
namespace {

struct ServeApi {
  explicit ServeApi(CommandSpec& app) : flags(app, configuration, {"", "api"}) {}

  config::Configuration configuration;  // source of the defaults in --help
  SettingFlags flags;
};

api::ServeOptions options_of(const ServeApi& command) {
  config::Configuration configuration;
  command.flags.load_into(configuration);
  api::ServeOptions options;
  options.state_dir =
      config::resolve_state_dir(configuration.state_dir, config::process_environment);
  options.tailscale_interface = configuration.tailscale_interface;
  options.api = configuration.api;
  options.repositories = configuration.repositories.repositories();
  if (options.repositories.empty()) {
    log::warn("{}; then reload (SIGHUP, or systemctl reload nixbuild-api)",
              command.flags.no_repository());
  }
  options.max_parallel = configuration.build.max_parallel;
  options.run_arguments = {"--state-dir", options.state_dir.string()};
  if (const auto file = command.flags.config_file()) {
    options.run_arguments.insert(options.run_arguments.end(), {"--config", file->string()});
  }
  for (const std::string& repository : command.flags.repositories()) {
    options.run_arguments.insert(options.run_arguments.end(), {"--repository", repository});
  }
  return options;
}

}  // namespace

void add_serve_api_command(CommandSpec& program) {
  CommandSpec& command =
      program.add_command("serve-api", "Serve the build API: trigger, status, logs, history");
  command.footer(
      R"(Builds the repositories in [[repository]] of the configuration file when a client asks for it
(`nixbuild trigger`, or `curl -X POST http://SERVER:8000/build/trigger`). Without a repository it
serves requests and says what to add. Under systemd each build is a unit,
nixbuild-build@REPOSITORY.service; otherwise it is a child process, which ends with this server.
http://SERVER:8000/openapi.json describes all routes.

Signals: TERM stops builds that are child processes, finishes open requests and exits; HUP reloads
repositories and token.

Examples:
  nixbuild serve-api
  nixbuild serve-api --listen 127.0.0.1:8000 --repository demo=/home/ann/demo#main)");
  auto state = std::make_shared<ServeApi>(command);
  state->flags.add_repository_flag(command);
  command.action([state] {
    api::ServeOptions options = options_of(*state);
    options.reload = [state] { return options_of(*state); };
    api::serve_api(options);
    return ExitCode::done;
  });
}

}  // namespace nixbuild::cli
