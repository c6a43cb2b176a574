#include "server/builder/toolbox.hpp"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "server/builder/build_view.hpp"
#include "server/builder/leftovers.hpp"

namespace nixbuild::builder {
namespace {

using Clock = std::chrono::steady_clock;

// The longest delay before a program's output is in the log, where others read it.
constexpr std::chrono::milliseconds tick_interval{20};
constexpr std::chrono::seconds record_interval{1};
// How long a program has to exit when asked to: Nix ends its builders and releases its locks.
constexpr std::chrono::seconds end_patience{5};

// Git aborts a connection that is slower than this for a minute. A server that prepares a large
// repository for sending only sends keep-alive messages, a few bytes a second.
constexpr const char* low_speed_bytes = "1";
constexpr const char* low_speed_seconds = "60";

std::vector<std::pair<std::string, std::string>> git_settings(bool allow_local) {
  return {
      {"core.hooksPath", "/dev/null"},
      {"gc.autoDetach", "false"},
      {"maintenance.autoDetach", "false"},
      {"advice.detachedHead", "false"},
      // ext:: helpers run commands given by a submodule's URL.
      {"protocol.allow", "never"},
      {"protocol.https.allow", "always"},
      {"protocol.http.allow", "always"},
      {"protocol.ssh.allow", "always"},
      {"protocol.git.allow", "always"},
      {"protocol.file.allow", allow_local ? "always" : "user"},
      // Git LFS files are fetched in a separate step, see whole_commit.hpp.
      {"filter.lfs.smudge", ""},
      {"filter.lfs.clean", ""},
      {"filter.lfs.process", ""},
      {"filter.lfs.required", "false"},
      {"http.lowSpeedLimit", low_speed_bytes},
      {"http.lowSpeedTime", low_speed_seconds},
  };
}

}  // namespace

Toolbox::Toolbox(const history::StateLayout& layout, Settings settings, Isolations isolations,
                 Interruption& interruption, Report& report)
    : layout_(layout),
      settings_(std::move(settings)),
      isolations_(std::move(isolations)),
      interruption_(interruption),
      report_(report) {}

Command Toolbox::git(std::vector<std::string> arguments) const {
  Command command;
  arguments.insert(arguments.begin(), "git");
  command.arguments = std::move(arguments);
  command.namespaces = isolations_.git.namespaces();
  command.environment = settings_.credentials.environment();
  command.environment.emplace_back("HOME", settings_.fetching_home.string());
  return command;
}

Command Toolbox::nix(std::vector<std::string> arguments, const Options& options) const {
  // Before the other arguments, which may contain "--".
  std::vector<std::string> common = {"--extra-experimental-features", "nix-command flakes",
                                     "--option", "accept-flake-config", "false"};
  for (const auto& [name, value] : options) {
    common.insert(common.end(), {"--option", name, value});
  }
  arguments.insert(arguments.begin() + 1, common.begin(), common.end());
  Command command;
  command.arguments = std::move(arguments);
  command.namespaces = isolations_.evaluation.namespaces();
  command.memory_limit = settings_.eval_memory;
  return command;
}

Command Toolbox::nix_fetching(std::vector<std::string> arguments) const {
  Command command = nix(std::move(arguments), settings_.credentials.nix_options());
  command.namespaces = isolations_.inputs.namespaces();
  // Flake commands use the flake in their working directory.
  command.directory = settings_.clone / settings_.dir;
  command.environment = settings_.credentials.environment();
  // If a variable is changed twice, the first change wins.
  command.environment.emplace_back("HOME", settings_.fetching_home.string());
  command.environment.emplace_back("XDG_CACHE_HOME", (settings_.fetching_home / ".cache").string());
  return command;
}

Toolbox::Options Toolbox::restriction() {
  return {{"restrict-eval", "true"},
          {"allowed-uris", "https:// http:// ssh:// git+https:// git+ssh://"}};
}

std::vector<std::string> Toolbox::search_path() const {
  std::vector<std::string> entries = {fmt::format("nixbuild-clone={}", settings_.clone.string())};
  // Nix's default if NIX_PATH is not set and evaluation is not restricted.
  const std::filesystem::path channel = "/nix/var/nix/profiles/per-user/root/channels/nixpkgs";
  std::error_code error;
  if (std::getenv("NIX_PATH") == nullptr && std::filesystem::exists(channel, error)) {
    entries.push_back(fmt::format("nixpkgs={}", channel.string()));
  }
  return entries;
}

void Toolbox::prepare(Command& command) const {
  if (command.directory.empty()) command.directory = settings_.clone;
  command.ends_with_parent = true;
  auto& environment = command.environment;
  environment.push_back(environment_mark(layout_, settings_.repository));
  environment.emplace_back("HOME", settings_.home.string());
  if (!command.namespaces.empty()) environment.emplace_back("TMPDIR", "/tmp");
  environment.emplace_back("GIT_TERMINAL_PROMPT", "0");
  environment.emplace_back("GIT_ASKPASS", "true");
  // Ignore what an earlier build may have left in the home directory.
  environment.emplace_back("GIT_CONFIG_GLOBAL", "/dev/null");
  environment.emplace_back("NIX_USER_CONF_FILES", "/dev/null");
  environment.emplace_back("SSH_ASKPASS_REQUIRE", "never");
  // Messages are parsed, so their language must be fixed.
  environment.emplace_back("LC_ALL", "C.UTF-8");
  if (std::getenv("GIT_SSH_COMMAND") == nullptr) {
    environment.emplace_back("GIT_SSH_COMMAND",
                             "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=30");
  }
  const auto settings = git_settings(settings_.allow_local_git);
  environment.emplace_back("GIT_CONFIG_COUNT", fmt::format("{}", settings.size()));
  for (std::size_t i = 0; i < settings.size(); ++i) {
    environment.emplace_back(fmt::format("GIT_CONFIG_KEY_{}", i), settings[i].first);
    environment.emplace_back(fmt::format("GIT_CONFIG_VALUE_{}", i), settings[i].second);
  }
  // If a variable is changed twice, the first change wins.
  for (auto& change : scrubbed_environment())
    environment.push_back(std::move(change));
}

void Toolbox::wait(std::span<Subprocess* const> children) {
  while (true) {
    const auto wake = wait_for_any(children, interruption_.fd(), Clock::now() + tick_interval);
    if (wake == Wake::ended) return;
    if (wake == Wake::stopped) interruption_.check();
    report_.tick();
    if (!isolations_.evaluation && Clock::now() - last_record_ >= record_interval) {
      last_record_ = Clock::now();
      record_descendants(layout_, settings_.repository);
    }
  }
}

Exit Toolbox::run(Command command) {
  interruption_.check();
  prepare(command);
  // What programs say is shown to everybody, while the build runs. Whoever knows the place of the
  // credentials could still name it as an input.
  if (command.on_error_line) {
    command.on_error_line = [this, show = std::move(command.on_error_line)](std::string_view line) {
      show(settings_.credentials.without_place(line));
    };
  }
  Subprocess child(std::move(command));
  Subprocess* const children[] = {&child};
  wait(children);
  Exit exit = child.exit();
  exit.error = settings_.credentials.without_place(exit.error);
  return exit;
}

Exit Toolbox::run_logged(Command command) {
  std::string error;
  const std::size_t limit = command.error_limit;
  command.on_error_line = [&](std::string_view line) {
    report_.log_output(line);
    if (error.size() < limit) error.append(line).push_back('\n');
  };
  Exit exit = run(std::move(command));
  exit.error = std::move(error);
  return exit;
}

void Toolbox::run_all(std::vector<Command> commands, std::size_t at_once,
                      const std::function<void(std::size_t, const Exit&)>& on_end) {
  struct Running {
    std::size_t index;
    Subprocess child;
  };
  std::vector<std::unique_ptr<Running>> running;
  std::size_t next = 0;
  while (next < commands.size() || !running.empty()) {
    interruption_.check();
    while (next < commands.size() && running.size() < at_once) {
      prepare(commands[next]);
      running.push_back(std::make_unique<Running>(Running{next, Subprocess(commands[next])}));
      ++next;
    }
    std::vector<Subprocess*> children;
    for (const auto& one : running)
      children.push_back(&one->child);
    wait(children);
    const auto ended = std::find_if(running.begin(), running.end(),
                                    [](const auto& one) { return one->child.ended(); });
    const auto done = std::move(*ended);
    running.erase(ended);
    on_end(done->index, done->child.exit());
  }
}

void Toolbox::end_all() {
  auto& [git, inputs, evaluation] = isolations_;
  end_descendants(end_patience,
                  {git.first_process(), inputs.first_process(), evaluation.first_process()});
  for (Isolation* isolation : {&git, &inputs, &evaluation})
    isolation->end();
}

}  // namespace nixbuild::builder
