// How --help looks: options in one column, their descriptions wrapped in another.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

namespace nixbuild::cli {

// A line of a list, or several: the name in one column, its description wrapped in another.
std::string help_entry(std::string_view name, std::string_view description);

class HelpFormatter : public CLI::Formatter {
 public:
  HelpFormatter();
  std::string make_option_opts(const CLI::Option* option) const override;
  std::string make_option(const CLI::Option* option, bool is_positional) const override;
  std::string make_subcommand(const CLI::App* subcommand) const override;
};

}  // namespace nixbuild::cli
