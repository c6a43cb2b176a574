#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <string>
#include <vector>

#include "cli/client_command.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "common/base/terminal.hpp"
#include "common/protocol/names.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

using terminal::printable;

struct Query : ClientCommand {
  using ClientCommand::ClientCommand;
  bool json = false;
};

ExitCode run_info(Query& command) {
  ApiClient api = command.connect();
  const auto info = api.get<protocol::Info>(protocol::path_of(protocol::Operation::info));
  if (command.json) {
    print_line(protocol::to_json(info, 2));
    return ExitCode::done;
  }
  const std::string cache =
      printable(info.cache_url.empty() ? net::default_cache_url(api.server()) : info.cache_url);
  std::string out = fmt::format("server        {} ({}), nixbuild {}\n", printable(info.hostname),
                                printable(info.system), printable(info.version));
  out += fmt::format("api           {}\n", api.server().base_url());
  out += fmt::format("cache         {}\n", cache);
  for (const std::string& name : info.repositories) {
    out += fmt::format("repository    {}\n", printable(name));
  }
  for (const std::string& key : info.public_keys) {
    out += fmt::format("public key    {}\n", printable(key));
  }
  out += fmt::format("\n# for /etc/nix/nix.conf\nextra-substituters = {}\n", cache);
  if (!info.public_keys.empty()) {
    out += fmt::format("extra-trusted-public-keys = {}\n",
                       printable(fmt::format("{}", fmt::join(info.public_keys, " "))));
  }
  print(out);
  return ExitCode::done;
}

ExitCode run_health(Query& command) {
  ApiClient api = command.connect();
  const auto health = api.get<protocol::Health>(protocol::path_of(protocol::Operation::health));
  const bool is_healthy = health.status == protocol::HealthState::healthy;
  if (command.json) {
    print_line(protocol::to_json(health, 2));
  } else {
    std::string out = fmt::format("status   {}\ncache    {}\n", protocol::name_of(health.status),
                                  health.cache_running ? "running" : "not running");
    for (const std::string& problem : health.problems) {
      out += fmt::format("problem  {}\n", printable(problem));
    }
    print(out);
  }
  say(is_healthy ? "✓ The build server is healthy" : "✗ The build server is not healthy");
  return is_healthy ? ExitCode::done : ExitCode::failed;
}

void add(CommandSpec& program, const char* name, const char* description, const char* text,
         ExitCode (*run)(Query&)) {
  CommandSpec& command = program.add_command(name, description);
  command.footer(text);
  auto state = std::make_shared<Query>(command);
  command.flag("--json", state->json, "Print the answer as JSON");
  command.action([state, run] { return run(*state); });
}

}  // namespace

void add_info_command(CommandSpec& program) {
  add(program, "info", "Show the build server's addresses, keys and repositories",
      R"(The last lines are for the nix.conf of machines that substitute from the server's cache.)",
      run_info);
}

void add_health_command(CommandSpec& program) {
  add(program, "health", "Check whether the build server and its cache work",
      R"(The exit code is 1 if the server answers but something is wrong.)", run_health);
}

}  // namespace nixbuild::cli
