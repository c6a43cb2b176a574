// Writing to standard output and standard error, past stdio: what is written is on its way when the
// call returns, and a full disk is an error.
#pragma once

#include <string>
#include <string_view>

namespace nixbuild::cli {

// Data, on standard output: cleaned if that is a terminal (terminal::printable_lines), since
// servers and repositories wrote most of it; as it is if it is anything else. Throws SystemError
// when not all of it can be written.
void print(std::string_view text);
// The same and a line end.
void print_line(std::string_view line);
// Text with escape sequences of our own, whose other parts were cleaned.
void print_raw(std::string_view text);

// Prints data that comes in pieces, as print does: pieces may cut a character or an escape
// sequence.
class PiecePrinter {
 public:
  PiecePrinter();
  void print(std::string_view piece);
  void end();

 private:
  bool cleans_;
  std::string line_;  // its beginning
};

// Text for people on standard output, with the signs that the locale has.
void print_text(std::string_view text);

// The same for text with escape sequences of our own, whose other parts were cleaned.
void print_raw_text(std::string_view text);

// For people, on standard error, with the signs that the locale has. A failure is ignored: there is
// nowhere to tell of it.
void say_raw(std::string_view text);
// A line, or several, cleaned; its mark (✓, ✗, !), where it begins with one, is coloured where that
// is wanted.
void say(std::string_view line);

// The text with ASCII in place of signs: "[ok]" for ✓, "[x]" for ✗, "[..]" for ⏳, and so on.
std::string with_ascii_signs(std::string_view text);
// The line with its mark in colour.
std::string with_coloured_mark(std::string_view line);

}  // namespace nixbuild::cli
