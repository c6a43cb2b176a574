#include "cli/help_formatter.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace nixbuild::cli;

TEST_CASE("a name and its text never touch") {
  const std::string indent(30, ' ');
  const auto shown = [](const std::string& name) {
    const CLI::App app("what it is", name);
    return HelpFormatter().make_subcommand(&app);
  };
  CHECK(shown(std::string(27, 'a')) == "  " + std::string(27, 'a') + " what it is\n");
  CHECK(shown(std::string(28, 'a')) ==
        "  " + std::string(28, 'a') + "\n" + indent + "what it is\n");
  CHECK(shown(std::string(40, 'a')) ==
        "  " + std::string(40, 'a') + "\n" + indent + "what it is\n");
}
