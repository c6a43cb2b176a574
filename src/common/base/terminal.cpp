#include "common/base/terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>

#include "common/base/utf8.hpp"

namespace nixbuild::terminal {
namespace {

constexpr std::string_view ellipsis = "\xe2\x80\xa6";

struct Range {
  std::uint32_t first;
  std::uint32_t last;
};

// The blocks that are two columns wide on all common terminals. This is not all of Unicode's East
// Asian Width: package names and messages hardly ever need even these.
constexpr std::array wide = {
    Range{0x1100, 0x115f}, Range{0x2e80, 0xa4cf},   Range{0xac00, 0xd7a3},
    Range{0xf900, 0xfaff}, Range{0xfe30, 0xfe6f},   Range{0xff00, 0xff60},
    Range{0xffe0, 0xffe6}, Range{0x1f300, 0x1faff}, Range{0x20000, 0x3fffd}};
// Combining marks, joiners and variation selectors.
constexpr std::array zero = {Range{0x0300, 0x036f}, Range{0x200b, 0x200f}, Range{0xfe00, 0xfe0f}};

// Marks, embeddings, overrides and isolates of writing direction, and the separators that some
// terminals treat as line ends. Source: Unicode Standard Annex #9.
constexpr std::array direction = {Range{0x061c, 0x061c}, Range{0x200e, 0x200f},
                                  Range{0x2028, 0x202e}, Range{0x2066, 0x2069}};

template <typename Ranges>
bool within(const Ranges& ranges, std::uint32_t code) noexcept {
  for (const Range& range : ranges) {
    if (code >= range.first && code <= range.last) return true;
  }
  return false;
}

// Removes one character from the front of `text`; an invalid byte counts as one.
std::uint32_t take_character(std::string_view& text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  std::uint32_t code = byte(0);
  std::size_t length = 1;
  if (code >= 0xf0) {
    length = 4;
    code &= 0x07;
  } else if (code >= 0xe0) {
    length = 3;
    code &= 0x0f;
  } else if (code >= 0xc0) {
    length = 2;
    code &= 0x1f;
  }
  if (length > text.size()) length = 1;
  for (std::size_t i = 1; i < length; ++i)
    code = (code << 6) | (byte(i) & 0x3f);
  text.remove_prefix(length);
  return code;
}

std::size_t width_of(std::uint32_t code) noexcept {
  if (code < 0x300) return 1;
  if (within(zero, code)) return 0;
  return within(wide, code) ? 2 : 1;
}

// The length of the terminal escape sequence at the beginning of `text` (ECMA-48): control
// sequences, operating system commands and other strings, two-byte sequences.
std::size_t escape_length(std::string_view text) {
  if (text.size() < 2) return text.size();
  const char kind = text[1];
  if (kind == '[') {
    for (std::size_t i = 2; i < text.size(); ++i) {
      if (text[i] >= 0x40 && text[i] <= 0x7e) return i + 1;
      if (text[i] < 0x20 || text[i] > 0x3f) return i;
    }
    return text.size();
  }
  if (kind == ']' || kind == 'P' || kind == 'X' || kind == '^' || kind == '_') {
    for (std::size_t i = 2; i < text.size(); ++i) {
      if (text[i] == '\a') return i + 1;
      if (text[i] == '\x1b' && i + 1 < text.size() && text[i + 1] == '\\') return i + 2;
    }
    return text.size();
  }
  // One intermediate byte may come before the final one: "ESC ( B".
  return kind >= 0x20 && kind <= 0x2f ? std::min<std::size_t>(3, text.size()) : 2;
}

const char* environment(const char* name) noexcept {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

bool is_terminal(int fd) noexcept {
  return ::isatty(fd) == 1;
}

bool can_redraw(int fd) noexcept {
  return is_terminal(fd) && std::string_view(environment("TERM")) != "dumb";
}

bool has_colour(int fd) noexcept {
  return can_redraw(fd) && std::string_view(environment("NO_COLOR")).empty();
}

bool has_unicode() noexcept {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string_view locale = environment(name);
    if (locale.empty()) continue;
    return locale.find("UTF-8") != std::string_view::npos ||
           locale.find("utf8") != std::string_view::npos ||
           locale.find("UTF8") != std::string_view::npos ||
           locale.find("utf-8") != std::string_view::npos;
  }
  return true;
}

std::size_t width(int fd) noexcept {
  return is_terminal(fd) ? size(fd).columns : std::string_view::npos;
}

Size size(int fd) noexcept {
  struct winsize window = {};
  Size size;
  if (::ioctl(fd, TIOCGWINSZ, &window) == 0) {
    if (window.ws_col > 0) size.columns = window.ws_col;
    if (window.ws_row > 0) size.lines = window.ws_row;
  }
  return size;
}

std::string printable(std::string_view text, std::size_t most) {
  std::string out;
  out.reserve(std::min(text.size(), most));
  while (!text.empty()) {
    if (out.size() >= most) return out += ellipsis;
    const auto first = static_cast<unsigned char>(text.front());
    std::size_t length = 1;
    if (first == 0x1b) {
      length = escape_length(text);
    } else if (first == '\n') {
      out += ' ';
    } else if (first == '\t' || (first >= 0x20 && first < 0x7f)) {
      out += text.front();
    } else if (first >= 0x80) {
      length = utf8::sequence_length(text);
      if (length == 0) {
        out += utf8::replacement;
        length = 1;
      } else {
        std::string_view rest = text;
        const std::uint32_t code = take_character(rest);
        // U+0080 to U+009F are control characters too.
        if (code >= 0xa0 && !within(direction, code)) out += text.substr(0, length);
      }
    }
    text.remove_prefix(length);
  }
  return out;
}

std::string printable_lines(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    out += printable(text.substr(0, end));
    if (end == std::string_view::npos) break;
    out += '\n';
    text.remove_prefix(end + 1);
  }
  return out;
}

std::size_t columns(std::string_view text) noexcept {
  std::size_t width = 0;
  while (!text.empty())
    width += width_of(take_character(text));
  return width;
}

std::string fit(std::string_view text, std::size_t most) {
  if (columns(text) <= most) return std::string(text);
  if (most == 0) return {};
  std::string_view rest = text;
  std::size_t width = 0;
  while (!rest.empty()) {
    std::string_view next = rest;
    const std::size_t more = width_of(take_character(next));
    if (width + more > most - 1) break;
    width += more;
    rest = next;
  }
  return std::string(text.substr(0, text.size() - rest.size())).append(ellipsis);
}

}  // namespace nixbuild::terminal
