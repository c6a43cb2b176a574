#include "cli/output.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "common/base/error.hpp"
#include "common/base/terminal.hpp"

namespace nixbuild::cli {
namespace {

// 0, or an errno.
int write_all(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {  // another process made the shared descriptor non-blocking
      struct pollfd waiting = {fd, POLLOUT, 0};
      (void)::poll(&waiting, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

struct Mark {
  std::string_view text;
  std::string_view colour;
};
constexpr std::size_t longest_line = std::size_t{64} << 10;  // bytes kept of a line without an end
constexpr std::array marks = {Mark{"✓", "\x1b[32m"}, Mark{"✗", "\x1b[31m"}, Mark{"!", "\x1b[33m"}};

}  // namespace

void print_raw(std::string_view text) {
  if (const int error = write_all(STDOUT_FILENO, text)) {
    throw SystemError(error, "cannot write to standard output");
  }
}

void print(std::string_view text) {
  if (terminal::is_terminal(STDOUT_FILENO)) {
    print_raw(terminal::printable_lines(text));
  } else {
    print_raw(text);
  }
}

void print_line(std::string_view line) {
  print(std::string(line) + '\n');
}

void print_text(std::string_view text) {
  if (terminal::has_unicode()) {
    print(text);
  } else {
    print(with_ascii_signs(text));
  }
}

void print_raw_text(std::string_view text) {
  if (terminal::has_unicode()) {
    print_raw(text);
  } else {
    print_raw(with_ascii_signs(text));
  }
}

void say_raw(std::string_view text) {
  if (terminal::has_unicode()) {
    (void)write_all(STDERR_FILENO, text);
  } else {
    (void)write_all(STDERR_FILENO, with_ascii_signs(text));
  }
}

void say(std::string_view line) {
  const std::string clean = terminal::printable_lines(line);
  say_raw((terminal::has_colour(STDERR_FILENO) ? with_coloured_mark(clean) : clean) + '\n');
}

PiecePrinter::PiecePrinter() : cleans_(terminal::is_terminal(STDOUT_FILENO)) {}

void PiecePrinter::print(std::string_view piece) {
  if (!cleans_) return print_raw(piece);
  line_ += piece;
  std::size_t whole = line_.rfind('\n');
  if (whole == std::string::npos) {
    if (line_.size() < longest_line) return;
    whole = line_.size() - 1;
  }
  print_raw(terminal::printable_lines(std::string_view(line_).substr(0, whole + 1)));
  line_.erase(0, whole + 1);
}

void PiecePrinter::end() {
  print_raw(terminal::printable_lines(line_));
  line_.clear();
}

std::string with_ascii_signs(std::string_view text) {
  struct Sign {
    std::string_view sign;
    std::string_view ascii;
  };
  // Signs that are drawn within a measured width are replaced by as many columns.
  static constexpr std::array signs = {Sign{"✓", "[ok]"}, Sign{"✗", "[x]"}, Sign{"⏳", "[..]"},
                                       Sign{"█", "#"},    Sign{"░", "-"},   Sign{"…", "~"},
                                       Sign{"→", "->"}};
  std::string out;
  while (!text.empty()) {
    const auto* found = std::find_if(signs.begin(), signs.end(),
                                     [&](const Sign& one) { return text.starts_with(one.sign); });
    out += found == signs.end() ? text.substr(0, 1) : found->ascii;
    text.remove_prefix(found == signs.end() ? 1 : found->sign.size());
  }
  return out;
}

std::string with_coloured_mark(std::string_view line) {
  for (const Mark& mark : marks) {
    if (!line.starts_with(mark.text)) continue;
    return std::string(mark.colour) + std::string(mark.text) + "\x1b[0m" +
           std::string(line.substr(mark.text.size()));
  }
  return std::string(line);
}

}  // namespace nixbuild::cli
