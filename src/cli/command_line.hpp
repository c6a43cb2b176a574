// The command line as a table: commands with their options and positional arguments, each with its
// help and the variable for its value.
//
//   struct Status {
//     std::string repository;
//     bool json = false;
//   };
//   void add_status_command(CommandSpec& program) {
//     auto state = std::make_shared<Status>();
//     CommandSpec& command = program.add_command("status", "Show the newest build");
//     command.argument("REPO", state->repository, "A repository of the server");
//     command.flag("--json", state->json, "Print every field");
//     command.action([state] { return run(*state); });
//   }
//
// `run` parses a command line by this table, `help` prints it, and shells complete from it
// (cmd_complete.cpp). Only command_parser.cpp depends on the parser library.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/exit_code.hpp"

namespace nixbuild::cli {

// Runs a command after the whole command line has been parsed.
using Action = std::function<ExitCode()>;

// An option, a flag or a positional argument.
struct OptionSpec {
  std::string name;        // "--lines"; a positional argument's name in help: "REPO"
  std::string short_name;  // "-n", or empty
  std::string value_name;  // the value's name in help: "N"; empty for a flag
  std::string help;
  bool is_positional = false;
  bool is_required = false;
  bool is_repeatable = false;
  Action action;  // of flags such as --help: runs instead of the command

  // Called for every value, before `store`. Throws UsageError.
  std::function<void(const std::string& value)> check;
  // Called with all values of an option that is given. Throws UsageError.
  std::function<void(const std::vector<std::string>& values)> store;
  std::vector<const OptionSpec*> excluded;
  std::vector<const OptionSpec*> needed;

  // The values from the command line, after it has been parsed; "true" for a flag.
  std::vector<std::string> values;

  bool is_given() const noexcept { return !values.empty(); }
  bool is_flag() const noexcept { return value_name.empty() && !is_positional; }
  // The allowed words, if the value's name lists them: "zstd|xz|none".
  std::vector<std::string> choices() const;

  // For chaining.
  OptionSpec& required();
  OptionSpec& repeatable();
  OptionSpec& checked(std::function<void(const std::string& value)> function);
  OptionSpec& excludes(const OptionSpec& other);
  OptionSpec& needs(const OptionSpec& other);
};

// The range of whole numbers that an option accepts.
struct Range {
  std::int64_t least = 0;
  std::int64_t most = 0;
};

class CommandSpec {
 public:
  // Every command has --help. `path` is the full command: "nixbuild keys show".
  CommandSpec(std::string path, std::string summary);
  CommandSpec(const CommandSpec&) = delete;
  CommandSpec& operator=(const CommandSpec&) = delete;

  CommandSpec& add_command(std::string_view name, std::string summary);

  // `names` are as shown in help: "--json", "-f,--follow"; for an option the value's name follows:
  // "-n,--lines N". The variables must live until the command line has been parsed.
  OptionSpec& flag(std::string_view names, bool& target, std::string help);
  OptionSpec& option(std::string_view names, std::string& target, std::string help);
  OptionSpec& option(std::string_view names, std::int64_t& target, Range range, std::string help);
  // May be given several times.
  OptionSpec& option(std::string_view names, std::vector<std::string>& target, std::string help);
  // An option whose values are read from OptionSpec::values.
  OptionSpec& unbound(std::string_view names, std::string help);
  // A flag that runs instead of the command, whatever else is on the line.
  OptionSpec& action_flag(std::string_view names, std::string help, Action action);
  OptionSpec& argument(std::string_view name, std::string& target, std::string help);
  // All words after "--", unparsed.
  void rest(std::vector<std::string>& target) { rest_ = &target; }

  // Text below the options.
  void footer(std::string text);
  void footer(std::function<std::string()> text) { footer_ = std::move(text); }

  // A command without an action requires a subcommand.
  void action(Action action) { action_ = std::move(action); }

  const std::string& path() const noexcept { return path_; }
  std::string name() const;  // the last word of the path
  const std::string& summary() const noexcept { return summary_; }
  std::string footer_text() const { return footer_ ? footer_() : std::string(); }
  const Action& action() const noexcept { return action_; }
  std::vector<std::string>* rest() const noexcept { return rest_; }
  // Elements of these lists keep their addresses.
  std::list<OptionSpec>& options() noexcept { return options_; }
  const std::list<OptionSpec>& options() const noexcept { return options_; }
  std::list<CommandSpec>& commands() noexcept { return commands_; }
  const std::list<CommandSpec>& commands() const noexcept { return commands_; }

 private:
  std::string path_;
  std::string summary_;
  std::function<std::string()> footer_;
  Action action_;
  std::vector<std::string>* rest_ = nullptr;
  std::list<OptionSpec> options_;
  std::list<CommandSpec> commands_;
};

// The option with this name, long or short; null if there is none.
OptionSpec* find_option(CommandSpec& command, std::string_view name);

// Parses the words after the program's name and runs the command. Throws UsageError naming the
// invalid word, the nearest known word, and the known words.
ExitCode run(CommandSpec& program, std::vector<std::string> words);

// The output of --help.
std::string help(const CommandSpec& command);

// An entry of a list in help: the name in one column, its wrapped description in another.
std::string help_entry(std::string_view name, std::string_view description);

}  // namespace nixbuild::cli
