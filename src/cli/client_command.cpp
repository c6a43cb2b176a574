#include "cli/client_command.hpp"

#include <charconv>
#include <vector>

#include "common/config/service_settings.hpp"
#include "common/protocol/names.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {

void ClientCommand::add_repository(CommandSpec& command) {
  command.argument("REPO", repository, "A repository of the server (default: its first)")
      .checked(config::check_repository_name);
}

void ClientCommand::add_repository_or_build(CommandSpec& command, const std::string& help) {
  OptionSpec& argument = command.argument("REPO|ID", repository, help);
  argument.checked(config::check_repository_name);
  argument.store = [this](const std::vector<std::string>& values) {
    const std::string& word = values.back();
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error == std::errc() && end == word.data() + word.size()) {
      build = number;
    } else {
      repository = word;
    }
  };
  OptionSpec& option =
      command.option("--repository REPO", repository, "A repository, even if its name is a number");
  option.checked(config::check_repository_name).excludes(argument);
}

protocol::Build ClientCommand::named_build(ApiClient& api) const {
  return api.get<protocol::Build>(
      protocol::path_of(protocol::Operation::build, std::to_string(*build)));
}

protocol::BuildStatus ClientCommand::status(ApiClient& api) const {
  const auto newest = [&api](const std::string& name) {
    return api.get<protocol::BuildStatus>(protocol::path_of(protocol::Operation::status, name));
  };
  if (!build) return newest(repository);
  const protocol::Build named = named_build(api);
  protocol::BuildStatus status;
  status.repository = named.repository;
  status.build_id = named.id;
  status.last_start = named.start;
  status.is_running = !protocol::has_ended(named.state);
  if (status.is_running) {
    // Only the status has what is being built now.
    protocol::BuildStatus live = newest(named.repository);
    if (live.build_id == named.id) return live;
    status.phase = protocol::name_of(named.state);
    return status;
  }
  status.phase = protocol::phase::done;
  status.last_finish = named.finish;
  status.last_status = named.state == protocol::BuildState::success ? protocol::BuildResult::success
                                                                    : protocol::BuildResult::failed;
  status.last_commit = named.commit;
  status.error = named.error;
  for (const protocol::Target& target : named.targets) {
    if (target.result != protocol::TargetResult::success) continue;
    for (const protocol::Output& output : target.outputs)
      status.outputs.push_back(output.path);
  }
  return status;
}

ApiClient ClientCommand::connect() {
  flags_.load();
  return ApiClient(configuration_.client, std::nullopt, fallback_of(configuration_));
}

ApiClient ClientCommand::connect_quietly(std::chrono::milliseconds timeout) {
  flags_.load();
  const Fallback fallback = fallback_of(configuration_) == Fallback::none
                                ? Fallback::none
                                : Fallback::this_machine_silently;
  return ApiClient(configuration_.client, timeout, fallback);
}

}  // namespace nixbuild::cli
