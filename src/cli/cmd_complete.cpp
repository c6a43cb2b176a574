#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/client_command.hpp"
#include "cli/command.hpp"
#include "cli/output.hpp"
#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/protocol/names.hpp"
#include "common/protocol/routes.hpp"

namespace nixbuild::cli {
namespace {

using protocol::Operation;
using protocol::path_of;

// A person has pressed Tab and waits for the answer.
constexpr std::chrono::milliseconds completion_timeout{1000};
constexpr std::string_view most_builds = "100";

// Directives for the shells' scripts, instead of words to choose from.
constexpr std::string_view files = ":files\n";
constexpr std::string_view directories = ":directories\n";

struct Complete : ClientCommand {
  explicit Complete(CommandSpec& complete) : ClientCommand(complete), command(complete) {}
  CommandSpec& command;
  Describe describe;
  std::vector<std::string> line;
};

// Words are inserted into the shell's command line unquoted. Repository names have no characters
// that are special to a shell; a server that returns others is not trusted.
bool is_plain(std::string_view name) {
  return !name.empty() && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

std::string entry(std::string_view word, std::string_view text) {
  return fmt::format("{}\t{}\n", word, terminal::printable(text));
}

std::string repositories(ApiClient& api) {
  std::string out;
  for (const auto& one :
       api.get<protocol::RepositoryList>(path_of(Operation::repositories)).repositories) {
    if (is_plain(one.name)) out += entry(one.name, one.url);
  }
  return out;
}

std::string builds(ApiClient& api) {
  std::string out;
  const std::string path =
      protocol::with_query(path_of(Operation::builds), {{"limit", std::string(most_builds)}});
  for (const auto& one : api.get<protocol::BuildList>(path).builds) {
    out += entry(
        std::to_string(one.id),
        fmt::format("{} {} {}", one.repository, protocol::name_of(one.state), one.commit_subject));
  }
  return out;
}

// The possible words for an option's value or an argument of this name.
std::string words_for(Complete& complete, const OptionSpec& option) {
  std::string out;
  for (const std::string& choice : option.choices())
    out += entry(choice, "");
  const std::string& kind = option.is_positional ? option.name : option.value_name;
  if (kind == "FILE") return std::string(files);
  if (kind == "DIR") return std::string(directories);
  const bool is_repository = kind == "REPO" || kind == "REPO|ID";
  const bool is_build = kind == "ID" || kind == "REPO|ID";
  if (!is_repository && !is_build) return out;
  ApiClient api = complete.connect_quietly(completion_timeout);
  if (is_repository) out += repositories(api);
  try {
    if (is_build) out += builds(api);
  } catch (const net::RefusedError&) {
    // The repositories are useful without builds.
  }
  return out;
}

// The state of a command line at the word to be completed.
struct Position {
  CommandSpec* command = nullptr;
  const OptionSpec* option = nullptr;  // the option whose value the last word is
  std::size_t arguments = 0;           // arguments before the last word
};

Position position_in(CommandSpec& program, const std::vector<std::string>& words) {
  Position position;
  position.command = &program;
  for (const std::string& word : words) {
    if (position.option != nullptr) {
      find_option(*position.command, position.option->name)->values.push_back(word);
      position.option = nullptr;
    } else if (word.starts_with('-')) {
      const std::size_t equals = word.find('=');
      OptionSpec* option = find_option(*position.command, word.substr(0, equals));
      if (option == nullptr || option->is_flag()) continue;
      if (equals == std::string::npos) {
        position.option = option;
      } else {
        option->values.push_back(word.substr(equals + 1));
      }
    } else {
      auto& commands = position.command->commands();
      const auto found = std::find_if(commands.begin(), commands.end(),
                                      [&](const CommandSpec& one) { return one.name() == word; });
      if (found != commands.end()) {
        position.command = &*found;
      } else {
        ++position.arguments;
      }
    }
  }
  return position;
}

// The completed command line decides which server to ask.
void take_client_options(Complete& complete, CommandSpec& from) {
  for (const char* name : {"--config", "--server", "--token-file"}) {
    if (const OptionSpec* given = find_option(from, name)) {
      find_option(complete.command, name)->values = given->values;
    }
  }
}

std::string completions(Complete& complete) {
  if (complete.line.size() < 2) return {};
  const std::string called = complete.line.front();
  const std::string current = complete.line.back();
  std::vector<std::string> words(complete.line.begin() + 1, complete.line.end() - 1);
  CommandSpec program("nixbuild", "");
  complete.describe(program, called, words);
  Position position = position_in(program, words);
  take_client_options(complete, *position.command);

  if (current.starts_with("--") && current.find('=') != std::string::npos) {
    position.option = find_option(*position.command, current.substr(0, current.find('=')));
    if (position.option == nullptr || position.option->is_flag()) return {};
  }
  if (position.option != nullptr) return words_for(complete, *position.option);

  if (!current.starts_with('-')) {
    std::vector<const OptionSpec*> arguments;
    for (const OptionSpec& option : position.command->options()) {
      if (option.is_positional) arguments.push_back(&option);
    }
    if (position.arguments < arguments.size()) {
      return words_for(complete, *arguments[position.arguments]);
    }
    if (!arguments.empty()) return {};
  }
  std::string out;
  for (const CommandSpec& one : position.command->commands())
    out += entry(one.name(), one.summary());
  for (const OptionSpec& option : position.command->options()) {
    if (!option.is_positional) out += entry(option.name, option.help);
  }
  return out;
}

ExitCode run(Complete& complete) {
  try {
    print(completions(complete));
  } catch (const Error&) {
    // Ignore errors: the command itself will report them, and not in the middle of a line.
  }
  return ExitCode::done;
}

}  // namespace

void add_complete_command(CommandSpec& program, Describe describe) {
  CommandSpec& command =
      program.add_command("complete", "List what can follow on a command line, for shells");
  command.footer(
      R"(WORD... is a command line up to the cursor, the program's name included; its last word, which may be
empty, is to be completed. Prints one candidate per line: the word, a tab, and what it is; or :files
or :directories if the shell is to offer those. Candidates are not filtered by what the last word
begins with, and after --OPTION= they are values without that prefix.

Repositories and builds come from the server that the line names. If it does not answer within a
second, nothing is printed and the exit code is 0.

Examples:
  nixbuild complete -- nixbuild status ''
  nixbuild complete -- bl --server build-server -n 20 '')");
  auto state = std::make_shared<Complete>(command);
  state->describe = std::move(describe);
  command.rest(state->line);
  command.action([state] { return run(*state); });
}

}  // namespace nixbuild::cli
