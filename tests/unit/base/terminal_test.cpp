#include "common/base/terminal.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <string>

using namespace nixbuild;

TEST_CASE("text of others cannot command the terminal") {
  CHECK(terminal::printable("plain, tab\tand hällo ✓") == "plain, tab\tand hällo ✓");
  CHECK(terminal::printable("a\x1b[31mred\x1b[0m\nb\r\x07\x7f") == "ared b");
  CHECK(terminal::printable("\x1b]0;title\x07x") == "x");
  CHECK(terminal::printable("a\xff\xc3(b") == "a\uFFFD\uFFFD(b");
  CHECK(terminal::printable("12345\x1b[0m", 5) == "12345…");
  CHECK(terminal::printable("12345", 5) == "12345");
  CHECK(terminal::printable("a\xc2\x9b"
                            "31mb\xc2\xa0") == "a31mb\xc2\xa0");
  CHECK(terminal::printable("cut\x1b[31") == "cut");
  CHECK(terminal::printable("\x1b") == "");
}

TEST_CASE("text of others cannot change the direction of writing") {
  // "Trojan source": text that is shown in another order than it is stored in.
  CHECK(terminal::printable("a\u202e\u2066b\u2069\u202cc\u200e\u200f\u061cd\u2028\u2029e") ==
        "abcde");
  CHECK(terminal::printable("عربى \u2027 \u2030") == "عربى \u2027 \u2030");
}

TEST_CASE("lines of others stay lines") {
  CHECK(terminal::printable_lines("a\x1b[2J\nb\r\n\n\tc") == "a\nb\n\n\tc");
  CHECK(terminal::printable_lines("") == "");
  CHECK(terminal::printable_lines("\n") == "\n");
  // An escape sequence does not swallow the next line.
  CHECK(terminal::printable_lines("\x1b]0;title\nx") == "\nx");
}

TEST_CASE("columns are counted, not bytes") {
  CHECK(terminal::columns("") == 0);
  CHECK(terminal::columns("abc") == 3);
  CHECK(terminal::columns("hällo ✓") == 7);
  CHECK(terminal::columns("日本") == 4);
  CHECK(terminal::columns("e\xcc\x81") == 1);
  CHECK(terminal::columns("\xf0\x9f") == 2);  // incomplete: don't read past the end
}

TEST_CASE("text is cut between characters") {
  CHECK(terminal::fit("hello", 5) == "hello");
  CHECK(terminal::fit("hello", 4) == "hel…");
  CHECK(terminal::fit("hällo", 3) == "hä…");
  CHECK(terminal::fit("日本語", 4) == "日…");
  CHECK(terminal::fit("ab", 1) == "…");
  CHECK(terminal::fit("ab", 0) == "");
}

TEST_CASE("a pipe is no terminal") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  CHECK_FALSE(terminal::is_terminal(ends[1]));
  CHECK_FALSE(terminal::has_colour(ends[1]));
  CHECK(terminal::size(ends[1]).columns == 80);
  ::close(ends[0]);
  ::close(ends[1]);
}
