#include "cli/help_formatter.hpp"

#include <fmt/format.h>

#include <string_view>

namespace nixbuild::cli {
namespace {

constexpr std::size_t name_width = 30;
constexpr std::size_t line_width = 96;

}  // namespace

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

HelpFormatter::HelpFormatter() {
  label("SUBCOMMAND", "COMMAND");
}

// What the value is called, and no more: which options exclude each other is told when they meet.
std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  std::string out;
  if (option->get_type_size() != 0 && !option->get_type_name().empty()) {
    out += ' ' + get_label(option->get_type_name());
  }
  if (option->get_required()) out += ' ' + get_label("REQUIRED");
  return out;
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool is_positional) const {
  return help_entry(make_option_name(option, is_positional) + make_option_opts(option),
                    make_option_desc(option));
}

std::string HelpFormatter::make_subcommand(const CLI::App* subcommand) const {
  return help_entry(subcommand->get_name(), subcommand->get_description());
}

}  // namespace nixbuild::cli
