// What is known of the terminal that is written to, and text made fit for it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace nixbuild::terminal {

bool is_terminal(int fd) noexcept;
// Whether what stands on it can be erased and drawn anew.
bool can_redraw(int fd) noexcept;
// The same, and NO_COLOR is not set (https://no-color.org: an empty value counts as not set).
bool has_colour(int fd) noexcept;

// Whether text may have more than ASCII, by LC_ALL, LC_CTYPE or LANG. If none of them is set it
// may: who runs without a locale, such as cron, passes text on.
bool has_unicode() noexcept;

struct Size {
  unsigned columns = 80;
  unsigned lines = 24;
};
Size size(int fd) noexcept;  // the default where it cannot be found out
// The columns of a terminal; without bound for anything else.
std::size_t width(int fd) noexcept;

// `text` without control characters, escape sequences and marks of writing direction, for what
// others wrote, such as a server's message: it can neither command the terminal nor show itself in
// another order than it has. Tabs stay, line ends become spaces, bytes that are not UTF-8 become
// U+FFFD, and what follows `most` bytes becomes "…".
std::string printable(std::string_view text, std::size_t most = std::string_view::npos);
// The same for text of several lines, whose ends stay.
std::string printable_lines(std::string_view text);

// How many columns valid UTF-8 takes.
std::size_t columns(std::string_view text) noexcept;
// `text` cut to at most `most` columns, with "…" where something is left out.
std::string fit(std::string_view text, std::size_t most);

}  // namespace nixbuild::terminal
