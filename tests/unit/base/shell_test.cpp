#include "common/base/shell.hpp"

#include <doctest/doctest.h>

using namespace nixbuild;

TEST_CASE("words that need no quotes have none") {
  CHECK(shell_word("switch") == "switch");
  CHECK(shell_word(".#default") == ".#default");
  CHECK(shell_word("/home/ann/.config") == "/home/ann/.config");
  CHECK(shell_word("build-server-1:AbC+/=") == "build-server-1:AbC+/=");
}

TEST_CASE("words that a shell would take apart are quoted") {
  CHECK(shell_word("") == "''");
  CHECK(shell_word("a b") == "'a b'");
  CHECK(shell_word("it's $HOME") == R"('it'\''s $HOME')");
  CHECK(shell_word("~ann") == "'~ann'");
  CHECK(shell_word("#1") == "'#1'");
  CHECK(shell_word("a;b") == "'a;b'");
  CHECK(shell_command({"cd", "/tmp/a b"}) == "cd '/tmp/a b'");
}
