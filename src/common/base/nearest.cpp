#include "common/base/nearest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "common/base/terminal.hpp"

namespace nixbuild {
namespace {

// Names are short, but a word of a command line may be long.
constexpr std::size_t longest = 64;

// The optimal string alignment distance.
std::size_t distance(std::string_view a, std::string_view b) {
  // Rows i - 2, i - 1 and i of the table whose cell (i, j) compares the first i letters of `a` with
  // the first j of `b`.
  std::vector<std::size_t> older(b.size() + 1);
  std::vector<std::size_t> previous(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    older.swap(previous);
    previous.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool is_same = a[i - 1] == b[j - 1];
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (is_same ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], older[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<std::string> nearest(std::string_view mistyped,
                                   const std::vector<std::string>& known) {
  if (mistyped.empty() || mistyped.size() > longest) return std::nullopt;
  std::size_t best = std::max<std::size_t>(mistyped.size() / 3, 1) + 1;
  std::optional<std::string> found;
  for (const std::string& name : known) {
    if (name.size() > longest) continue;
    const std::size_t wrong = distance(mistyped, name);
    // If every letter is wrong, it is no typo.
    if (wrong >= best || wrong >= name.size()) continue;
    best = wrong;
    found = name;
  }
  return found;
}

std::string list_names(const std::vector<std::string>& names) {
  constexpr std::size_t most_shown = 30;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), most_shown); ++i)
    out += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > most_shown) out += fmt::format(", and {} more", names.size() - most_shown);
  return out;
}

std::string known_names(std::string_view plural, std::string_view word,
                        const std::vector<std::string>& known) {
  const auto meant = nearest(word, known);
  return fmt::format("{}{}: {}", meant ? fmt::format("did you mean '{}'? ", *meant) : "", plural,
                     list_names(known));
}

std::string unknown_name(Noun noun, std::string_view word, const std::vector<std::string>& known) {
  return fmt::format("unknown {} '{}'; {}", noun.singular, terminal::printable(word, longest),
                     known.empty() ? fmt::format("there are no {}", noun.plural)
                                   : known_names(noun.plural, word, known));
}

}  // namespace nixbuild
