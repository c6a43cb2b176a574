// Writes to standard output and standard error, bypassing stdio: output is unbuffered, and a full
// disk is an error.
#pragma once

#include <string>
#include <string_view>

namespace nixbuild::cli {

// Writes data to standard output. On a terminal it is cleaned (terminal::printable_lines), since
// servers and repositories wrote most of it; otherwise it is unchanged. Throws SystemError if not
// all of it can be written.
void print(std::string_view text);
// The same with a line end.
void print_line(std::string_view line);
// For text with our own escape sequences, whose other parts are already cleaned.
void print_raw(std::string_view text);

// Prints data in pieces, like print: a piece may end inside a character or an escape sequence.
class PiecePrinter {
 public:
  PiecePrinter();
  void print(std::string_view piece);
  void end();

 private:
  bool cleans_;
  std::string line_;  // the beginning of an incomplete line
};

// Text for people on standard output, with signs that the locale supports.
void print_text(std::string_view text);

// The same for text with our own escape sequences, whose other parts are already cleaned.
void print_raw_text(std::string_view text);

// Text for people on standard error, with signs that the locale supports. Failures are ignored, as
// there is nowhere to report them.
void say_raw(std::string_view text);
// One or more lines, cleaned. A mark at the beginning (✓, ✗, !) is coloured if colours are enabled.
void say(std::string_view line);

// The text with ASCII in place of signs: "[ok]" for ✓, "[x]" for ✗, "[..]" for ⏳, and so on.
std::string with_ascii_signs(std::string_view text);
// The line with its mark in colour.
std::string with_coloured_mark(std::string_view line);

}  // namespace nixbuild::cli
