#include "cli/command_line.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "common/base/error.hpp"

using namespace nixbuild;
using namespace nixbuild::cli;

namespace {

// A program with one command of every kind of option.
struct Example {
  CommandSpec program{"tool", "what it is"};
  std::string repository;
  std::string level;
  std::vector<std::string> names;
  std::int64_t lines = 0;
  bool wait = false;
  bool json = false;
  std::string ran;

  Example() {
    CommandSpec& show = program.add_command("show", "Show it");
    show.argument("REPO", repository, "A repository");
    show.option("--level low|high", level, "How much");
    show.option("--name NAME", names, "A name; repeatable");
    show.option("-n,--lines N", lines, {1, 100}, "How many");
    OptionSpec& waiting = show.flag("-w,--wait", wait, "Wait");
    show.flag("--json", json, "Print JSON").excludes(waiting);
    show.action([this] {
      ran = "show";
      return ExitCode::refused;
    });
    CommandSpec& keys = program.add_command("keys", "Keys");
    keys.add_command("make", "Make one").action([this] {
      ran = "keys make";
      return ExitCode::done;
    });
  }

  ExitCode run(const std::vector<std::string>& words) { return cli::run(program, words); }
  std::string refusal(const std::vector<std::string>& words) {
    try {
      run(words);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "not refused";
  }
};

}  // namespace

TEST_CASE("values go to their variables") {
  Example example;
  CHECK(example.run({"show", "-n", "5", "demo", "--level=high", "--name", "a", "--name", "[b,c]",
                     "--wait"}) == ExitCode::refused);
  CHECK(example.ran == "show");
  CHECK(example.lines == 5);
  CHECK(example.repository == "demo");
  CHECK(example.level == "high");
  CHECK(example.names == std::vector<std::string>{"a", "[b,c]"});
  CHECK(example.wait);
  CHECK_FALSE(example.json);
}

TEST_CASE("an argument may have a command's name") {
  Example example;
  example.run({"show", "keys"});
  CHECK(example.repository == "keys");
  CHECK(example.ran == "show");
}

TEST_CASE("a command below another runs") {
  Example example;
  CHECK(example.run({"keys", "make"}) == ExitCode::done);
  CHECK(example.ran == "keys make");
}

TEST_CASE("a refusal names the word, the nearest name and the known ones") {
  CHECK(Example().refusal({"shwo"}) ==
        "unknown command 'shwo'; did you mean 'show'? commands: show, keys; see `tool --help`");
  CHECK(Example().refusal({"shwo", "--help"}).starts_with("unknown command 'shwo'"));
  CHECK(Example().refusal({"keys", "x"}) ==
        "unknown command 'x'; commands: make; see `tool keys --help`");
  CHECK(Example().refusal({"show", "--jsno=1"}) ==
        "unknown option '--jsno'; did you mean '--json'? options: --help, --level, --name, "
        "--lines, --wait, --json; see `tool show --help`");
  CHECK(Example().refusal({"show", "a", "b"}) == "unexpected argument 'b'; see `tool show --help`");
  CHECK(Example().refusal({"keys"}) == "`tool keys` needs a command: make; see `tool keys --help`");
}

TEST_CASE("a value that cannot be used is refused by the name of its option") {
  CHECK(Example().refusal({"show", "-n", "x"}) ==
        "--lines: a whole number from 1 to 100 was expected");
  CHECK(Example().refusal({"show", "-n", "101"}) ==
        "--lines: a whole number from 1 to 100 was expected");
  CHECK(Example().refusal({"show", "--level", "middle"}) ==
        "--level: unknown value 'middle'; expected one of: low, high");
  CHECK(Example().refusal({"show", "--level"}) == "--level needs a value: --level low|high");
  CHECK(Example().refusal({"show", "--level", "low", "--level", "high"}) ==
        "--level is given 2 times");
  CHECK(Example().refusal({"show", "--json", "--wait"}) == "--json excludes --wait");
}

TEST_CASE("help has a place for everything") {
  Example example;
  CHECK(help(example.program) == R"(what it is
Usage: tool [OPTIONS] COMMAND

Options:
  -h,--help                   Show this help

Subcommands:
  show                        Show it
  keys                        Keys
)");
  CHECK(help(example.program.commands().front()) == R"(Show it
Usage: tool show [OPTIONS] [REPO]

Positionals:
  REPO                        A repository

Options:
  -h,--help                   Show this help
  --level low|high            How much
  --name NAME                 A name; repeatable
  -n,--lines N                How many
  -w,--wait                   Wait
  --json                      Print JSON
)");
}

TEST_CASE("a name and its text never touch") {
  const std::string indent(30, ' ');
  const auto shown = [](const std::string& name) { return help_entry(name, "what it is"); };
  CHECK(shown(std::string(27, 'a')) == "  " + std::string(27, 'a') + " what it is\n");
  CHECK(shown(std::string(28, 'a')) ==
        "  " + std::string(28, 'a') + "\n" + indent + "what it is\n");
  CHECK(shown(std::string(40, 'a')) ==
        "  " + std::string(40, 'a') + "\n" + indent + "what it is\n");
}
