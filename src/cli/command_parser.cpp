// Parses a command line by its table. CLI11 only splits the words; validation and error messages
// are implemented here, so that all versions of CLI11 behave alike.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <list>
#include <optional>
#include <utility>

#include "cli/command_line.hpp"
#include "common/base/error.hpp"
#include "common/base/nearest.hpp"
#include "common/base/terminal.hpp"

namespace nixbuild::cli {
namespace {

// A command in CLI11's form.
struct Parsed {
  Parsed(CommandSpec& spec, CLI::App& app);

  CommandSpec& spec;
  CLI::App& app;
  std::vector<std::pair<OptionSpec*, CLI::Option*>> options;
  std::list<Parsed> commands;
};

Parsed::Parsed(CommandSpec& described, CLI::App& parser) : spec(described), app(parser) {
  app.set_help_flag();
  app.allow_extras();
  // At most one, so that a second word that happens to be a command's name is an argument.
  app.require_subcommand(0, 1);
  for (OptionSpec& option : spec.options()) {
    std::string names = option.short_name.empty() ? "" : option.short_name + ',';
    // CLI11 may not accept the argument's name in help.
    names += option.is_positional ? fmt::format("argument{}", options.size()) : option.name;
    CLI::Option* added = option.is_flag() ? app.add_flag(names) : app.add_option(names);
    if (!option.is_flag()) added->expected(1)->allow_extra_args(false);
    added->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    options.emplace_back(&option, added);
  }
  for (CommandSpec& command : spec.commands())
    commands.emplace_back(command, *app.add_subcommand(command.name()));
}

// The commands that the line names, from the program down to the innermost.
std::vector<Parsed*> chain_of(Parsed& program) {
  std::vector<Parsed*> chain = {&program};
  while (true) {
    std::list<Parsed>& below = chain.back()->commands;
    const auto next = std::find_if(below.begin(), below.end(),
                                   [](const Parsed& one) { return one.app.parsed(); });
    if (next == below.end()) return chain;
    chain.push_back(&*next);
  }
}

std::vector<std::string> names_of(const std::list<CommandSpec>& commands) {
  std::vector<std::string> names;
  for (const CommandSpec& one : commands)
    names.push_back(one.name());
  return names;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words)
    out += (out.empty() ? "" : ", ") + word;
  return out;
}

UsageError unknown(Noun noun, std::string_view word, const std::vector<std::string>& known,
                   const CommandSpec& command) {
  return UsageError(
      fmt::format("{}; see `{} --help`", unknown_name(noun, word, known), command.path()));
}

UsageError unexpected(const std::string& word, const CommandSpec& command) {
  if (word.starts_with('-')) {
    std::vector<std::string> known;
    for (const OptionSpec& option : command.options()) {
      if (!option.is_positional) known.push_back(option.name);
    }
    return unknown({"option", "options"}, std::string_view(word).substr(0, word.find('=')), known,
                   command);
  }
  if (command.commands().empty()) {
    return UsageError(fmt::format("unexpected argument '{}'; see `{} --help`",
                                  terminal::printable(word, 100), command.path()));
  }
  return unknown({"command", "commands"}, word, names_of(command.commands()), command);
}

// The words that CLI11 could not assign.
std::vector<std::string> rest_of(const Parsed& command) {
  std::vector<std::string> words = command.app.remaining();
  // Some versions keep the "--" that ends the options.
  const auto mark = std::find(words.begin(), words.end(), "--");
  if (mark != words.end()) words.erase(mark);
  return words;
}

void check_given(const OptionSpec& option) {
  if (option.values.size() > 1 && !option.is_repeatable && !option.is_flag()) {
    throw UsageError(fmt::format("{} is given {} times", option.name, option.values.size()));
  }
  for (const OptionSpec* other : option.excluded) {
    if (other->is_given()) {
      throw UsageError(fmt::format("{} excludes {}", option.name, other->name));
    }
  }
  for (const OptionSpec* other : option.needed) {
    if (!other->is_given()) {
      throw UsageError(fmt::format("{} needs {}", option.name, other->name));
    }
  }
  const std::vector<std::string> choices =
      option.is_flag() ? std::vector<std::string>{"true", "false"} : option.choices();
  for (const std::string& value : option.values) {
    // Options without a variable are checked by the code that reads them.
    if (!choices.empty() && option.store &&
        std::find(choices.begin(), choices.end(), value) == choices.end()) {
      throw UsageError(fmt::format("{}: unknown value '{}'; expected one of: {}", option.name,
                                   terminal::printable(value, 100), joined(choices)));
    }
  }
}

void store(const OptionSpec& option) {
  try {
    if (option.check) {
      for (const std::string& value : option.values)
        option.check(value);
    }
    if (option.store) option.store(option.values);
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: {}", option.name, error.what()));
  }
}

void take_values(const Parsed& command) {
  const std::vector<std::string> rest = rest_of(command);
  if (!rest.empty()) throw unexpected(rest.front(), command.spec);
  for (const auto& [option, parsed] : command.options) {
    if (option->is_given()) {
      check_given(*option);
    } else if (option->is_required) {
      throw UsageError(
          fmt::format("{} is missing; see `{} --help`", option->name, command.spec.path()));
    }
  }
  for (const auto& [option, parsed] : command.options) {
    if (option->is_given()) store(*option);
  }
}

// The only error left to CLI11 is an option without its value.
UsageError refused(const CommandSpec& command, const CLI::ParseError& error) {
  const std::string what = error.what();
  for (const OptionSpec& option : command.options()) {
    if (option.is_positional || !what.starts_with(option.name + ':')) continue;
    return UsageError(fmt::format("{0} needs a value: {0} {1}", option.name, option.value_name));
  }
  return UsageError(fmt::format("{}; see `{} --help`", what, command.path()));
}

// Removes the words after "--" if a command wants them unparsed.
void take_rest(CommandSpec& program, std::vector<std::string>& words) {
  const auto mark = std::find(words.begin(), words.end(), "--");
  for (const CommandSpec& command : program.commands()) {
    if (command.rest() == nullptr || mark == words.end() || words.front() != command.name())
      continue;
    command.rest()->assign(mark + 1, words.end());
    words.erase(mark, words.end());
    return;
  }
}

}  // namespace

ExitCode run(CommandSpec& program, std::vector<std::string> words) {
  take_rest(program, words);
  CLI::App app;
  Parsed root(program, app);
  std::reverse(words.begin(), words.end());  // CLI11 expects them in reverse order
  try {
    app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    throw refused(chain_of(root).back()->spec, error);
  }
  const std::vector<Parsed*> chain = chain_of(root);
  for (const Parsed* command : chain) {
    // After an unknown command, not even --help is useful.
    const std::vector<std::string> rest = rest_of(*command);
    const bool names_command = !command->commands.empty() && !rest.empty();
    if (names_command && !rest.front().starts_with('-'))
      throw unexpected(rest.front(), command->spec);
    for (const auto& [option, parsed] : command->options) {
      option->values = parsed->results();
      if (option->is_given() && option->action) return option->action();
    }
  }
  for (const Parsed* command : chain)
    take_values(*command);
  const CommandSpec& named = chain.back()->spec;
  if (named.action()) return named.action()();
  throw UsageError(fmt::format("`{0}` needs a command: {1}; see `{0} --help`", named.path(),
                               joined(names_of(named.commands()))));
}

}  // namespace nixbuild::cli
