#include "common/base/terminal.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>

namespace nixbuild::terminal {
namespace {

struct Range {
  std::uint32_t first;
  std::uint32_t last;
};

// The blocks that are two columns wide on all common terminals. Not the whole of Unicode's East
// Asian Width: names of packages and messages hardly ever need even these.
constexpr std::array wide = {
    Range{0x1100, 0x115f}, Range{0x2e80, 0xa4cf},   Range{0xac00, 0xd7a3},
    Range{0xf900, 0xfaff}, Range{0xfe30, 0xfe6f},   Range{0xff00, 0xff60},
    Range{0xffe0, 0xffe6}, Range{0x1f300, 0x1faff}, Range{0x20000, 0x3fffd}};
// Combining marks, joiners and variation selectors.
constexpr std::array zero = {Range{0x0300, 0x036f}, Range{0x200b, 0x200f}, Range{0xfe00, 0xfe0f}};

template <typename Ranges>
bool within(const Ranges& ranges, std::uint32_t code) noexcept {
  for (const Range& range : ranges) {
    if (code >= range.first && code <= range.last) return true;
  }
  return false;
}

// Takes one character off the front of `text`; a byte that does not begin one counts as one.
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

Size size(int fd) noexcept {
  struct winsize window = {};
  Size size;
  if (::ioctl(fd, TIOCGWINSZ, &window) == 0) {
    if (window.ws_col > 0) size.columns = window.ws_col;
    if (window.ws_row > 0) size.lines = window.ws_row;
  }
  return size;
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == 0x1b && i + 1 < text.size() && text[i + 1] == '[') {
      // A control sequence ends with a byte from '@' to '~' (ECMA-48).
      i += 2;
      while (i < text.size() && (text[i] < '@' || text[i] > '~'))
        ++i;
    } else if (byte == '\n') {
      out += ' ';
    } else if (byte == 0xc2 && i + 1 < text.size() &&
               static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      ++i;  // U+0080 to U+009F, control characters too
    } else if (byte == '\t' || (byte >= 0x20 && byte != 0x7f)) {
      out += text[i];
    }
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
  return std::string(text.substr(0, text.size() - rest.size())) + "…";
}

}  // namespace nixbuild::terminal
