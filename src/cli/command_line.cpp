#include "cli/command_line.hpp"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "cli/output.hpp"
#include "common/base/error.hpp"

namespace nixbuild::cli {
namespace {

constexpr std::size_t name_width = 30;
constexpr std::size_t line_width = 96;

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// From "-n,--lines N".
OptionSpec parse_names(std::string_view text) {
  OptionSpec option;
  const std::size_t space = text.find(' ');
  for (std::string& name : split(text.substr(0, space), ',')) {
    (name.starts_with("--") ? option.name : option.short_name) = std::move(name);
  }
  if (space != std::string_view::npos) option.value_name = text.substr(space + 1);
  return option;
}

std::int64_t parse_number(const std::string& text, Range range) {
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && last == end && number >= range.least && number <= range.most) {
    return number;
  }
  throw UsageError(
      range.most == INT64_MAX
          ? fmt::format("a whole number of at least {} was expected", range.least)
          : fmt::format("a whole number from {} to {} was expected", range.least, range.most));
}

std::string shown_name(const OptionSpec& option) {
  std::string out = option.short_name;
  if (!out.empty()) out += ',';
  out += option.name;
  if (!option.value_name.empty()) out += ' ' + option.value_name;
  return out;
}

// "repositories|builds", "[REPO]".
std::string usage_of(const OptionSpec& argument) {
  return argument.is_required ? argument.name : '[' + argument.name + ']';
}

}  // namespace

std::vector<std::string> OptionSpec::choices() const {
  const std::string& form = is_positional ? name : value_name;
  const bool is_list =
      form.find('|') != std::string::npos && form.front() >= 'a' && form.front() <= 'z';
  return is_list ? split(form, '|') : std::vector<std::string>();
}

OptionSpec& OptionSpec::required() {
  is_required = true;
  return *this;
}

OptionSpec& OptionSpec::repeatable() {
  is_repeatable = true;
  return *this;
}

OptionSpec& OptionSpec::checked(std::function<void(const std::string&)> function) {
  check = std::move(function);
  return *this;
}

OptionSpec& OptionSpec::excludes(const OptionSpec& other) {
  excluded.push_back(&other);
  return *this;
}

OptionSpec& OptionSpec::needs(const OptionSpec& other) {
  needed.push_back(&other);
  return *this;
}

CommandSpec::CommandSpec(std::string path, std::string summary)
    : path_(std::move(path)), summary_(std::move(summary)) {
  action_flag("-h,--help", "Show this help", [this] {
    print_text(help(*this));
    return ExitCode::done;
  });
}

std::string CommandSpec::name() const {
  return path_.substr(path_.rfind(' ') + 1);
}

CommandSpec& CommandSpec::add_command(std::string_view name, std::string summary) {
  return commands_.emplace_back(fmt::format("{} {}", path_, name), std::move(summary));
}

OptionSpec& CommandSpec::unbound(std::string_view names, std::string help) {
  OptionSpec& option = options_.emplace_back(parse_names(names));
  option.help = std::move(help);
  return option;
}

OptionSpec& CommandSpec::flag(std::string_view names, bool& target, std::string help) {
  OptionSpec& option = unbound(names, std::move(help));
  option.store = [&target](const std::vector<std::string>& values) {
    target = values.back() == "true";
  };
  return option;
}

OptionSpec& CommandSpec::option(std::string_view names, std::string& target, std::string help) {
  OptionSpec& option = unbound(names, std::move(help));
  option.store = [&target](const std::vector<std::string>& values) { target = values.back(); };
  return option;
}

OptionSpec& CommandSpec::option(std::string_view names, std::int64_t& target, Range range,
                                std::string help) {
  OptionSpec& option = unbound(names, std::move(help));
  option.store = [&target, range](const std::vector<std::string>& values) {
    target = parse_number(values.back(), range);
  };
  return option;
}

OptionSpec& CommandSpec::option(std::string_view names, std::vector<std::string>& target,
                                std::string help) {
  OptionSpec& option = unbound(names, std::move(help)).repeatable();
  option.store = [&target](const std::vector<std::string>& values) { target = values; };
  return option;
}

OptionSpec& CommandSpec::action_flag(std::string_view names, std::string help, Action action) {
  OptionSpec& option = unbound(names, std::move(help));
  option.action = std::move(action);
  return option;
}

OptionSpec& CommandSpec::argument(std::string_view name, std::string& target, std::string help) {
  OptionSpec& option = options_.emplace_back();
  option.name = name;
  option.help = std::move(help);
  option.is_positional = true;
  option.store = [&target](const std::vector<std::string>& values) { target = values.back(); };
  return option;
}

void CommandSpec::footer(std::string text) {
  footer_ = [text = std::move(text)] { return text; };
}

OptionSpec* find_option(CommandSpec& command, std::string_view name) {
  for (OptionSpec& option : command.options()) {
    if (!option.is_positional && (option.name == name || option.short_name == name)) return &option;
  }
  return nullptr;
}

std::string help(const CommandSpec& command) {
  std::string usage = fmt::format("Usage: {} [OPTIONS]", command.path());
  std::string arguments;
  std::string options;
  for (const OptionSpec& option : command.options()) {
    if (option.is_positional) {
      usage += ' ' + usage_of(option);
      arguments += help_entry(option.name, option.help);
    } else {
      options += help_entry(shown_name(option), option.help);
    }
  }
  std::string commands;
  for (const CommandSpec& one : command.commands())
    commands += help_entry(one.name(), one.summary());

  if (!commands.empty()) usage += " COMMAND";
  if (command.rest() != nullptr) usage += " -- WORD...";
  std::string out = fmt::format("{}\n{}\n", command.summary(), usage);
  if (!arguments.empty()) out += "\nPositionals:\n" + arguments;
  out += "\nOptions:\n" + options;
  if (!commands.empty()) out += "\nSubcommands:\n" + commands;
  std::string footer = command.footer_text();
  while (footer.ends_with('\n'))
    footer.pop_back();
  if (!footer.empty()) out += '\n' + footer + '\n';
  return out;
}

std::string help_entry(std::string_view name, std::string_view description) {
  std::string out = fmt::format("  {:<{}}", name, name_width - 2);
  std::size_t column = out.size();
  if (name.size() + 2 >= name_width) {
    out += '\n' + std::string(name_width, ' ');
    column = name_width;
  }
  while (!description.empty()) {
    const std::size_t space = description.find(' ');
    const std::string_view word = description.substr(0, space);
    if (column > name_width && column + 1 + word.size() > line_width) {
      out += '\n' + std::string(name_width, ' ');
      column = name_width;
    } else if (column > name_width) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    description.remove_prefix(space == std::string_view::npos ? description.size() : space + 1);
  }
  return out + '\n';
}

}  // namespace nixbuild::cli
