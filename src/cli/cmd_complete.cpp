#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "cli/client_command.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

using protocol::Operation;
using protocol::path_of;

// A person waits for the answer with a finger on the Tab key.
constexpr std::chrono::milliseconds patience{1000};
constexpr std::string_view most_builds = "100";

struct Complete : ClientCommand {
  using ClientCommand::ClientCommand;
  std::string kind;
};

// What goes into a shell's command line as it stands: names of repositories have nothing in them
// that means anything to one, and a server that says otherwise is not believed.
bool is_plain(std::string_view name) {
  return !name.empty() && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

std::string repositories(ApiClient& api) {
  std::string out;
  for (const auto& one :
       api.get<protocol::RepositoryList>(path_of(Operation::repositories)).repositories) {
    if (is_plain(one.name)) out += fmt::format("{}\t{}\n", one.name, terminal::printable(one.url));
  }
  return out;
}

std::string builds(ApiClient& api) {
  std::string out;
  const std::string path =
      protocol::with_query(path_of(Operation::builds), {{"limit", std::string(most_builds)}});
  for (const auto& one : api.get<protocol::BuildList>(path).builds) {
    out += fmt::format("{}\t{}\n", one.id,
                       terminal::printable(
                           fmt::format("{} {} {}", one.repository, one.state, one.commit_subject)));
  }
  return out;
}

ExitCode run(Complete& command) {
  try {
    ApiClient api = command.connect(patience);
    print(command.kind == "repositories" ? repositories(api) : builds(api));
  } catch (const Error&) {
    // Whatever is wrong, the command that is being typed will tell; not in the middle of a line.
  }
  return ExitCode::done;
}

}  // namespace

void add_complete_command(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("complete", "List repositories or builds, for a shell's completion");
  command->footer(
      R"(A line for each: the word, a tab, what it is. Nothing at all, and exit code 0, when the server is
away or does not answer within a second. Other words of the line that is completed may follow: of
them, only the flags above count.

Examples:
  nixbuild complete repositories
  nixbuild complete builds --server build-server logs -n 20)");
  auto state = std::make_shared<Complete>(*command);
  command->add_option("repositories|builds", state->kind, "What is to be listed")
      ->required()
      ->type_name("")
      ->check(CLI::IsMember({"repositories", "builds"}).description(""));
  command->allow_extras();
  command->callback([state, &action] { action = [state] { return run(*state); }; });
}

}  // namespace nixbuild::cli
