// What the terminal can show, and text made safe for it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nixbuild::terminal {

bool is_terminal(int fd) noexcept;
// Whether it is a terminal whose text can be erased and redrawn.
bool can_redraw(int fd) noexcept;
// The same, and NO_COLOR is not set (https://no-color.org: an empty value counts as unset).
bool has_colour(int fd) noexcept;

// Whether the locale (LC_ALL, LC_CTYPE or LANG) allows more than ASCII. True if none of them is
// set: without a locale, as under cron, text is usually passed on.
bool has_unicode() noexcept;

struct Size {
  unsigned columns = 80;
  unsigned lines = 24;
};
Size size(int fd) noexcept;  // the default if it is unknown
// The columns of a terminal; unlimited for anything else.
std::size_t width(int fd) noexcept;

// `text` without control characters, escape sequences and marks of writing direction, for text from
// others, such as a server's message: it cannot control the terminal or appear in another order
// than it is stored in. Tabs stay, line ends become spaces, bytes that are not UTF-8 become U+FFFD,
// and text after `most` bytes is replaced by "…".
std::string printable(std::string_view text, std::size_t most = std::string_view::npos);
// The same for text of several lines; line ends stay.
std::string printable_lines(std::string_view text);

// How many columns valid UTF-8 occupies.
std::size_t columns(std::string_view text) noexcept;
// `text` cut to at most `most` columns; "…" marks the cut.
std::string fit(std::string_view text, std::size_t most);

}  // namespace nixbuild::terminal
