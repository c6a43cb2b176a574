#include "cli/table.hpp"

#include <algorithm>

#include "common/base/terminal.hpp"

namespace nixbuild::cli {

// Shrinks the widest columns until a line fits, or every column is narrow.
void Table::shrink(std::vector<std::size_t>& widths, std::size_t most_columns) const {
  constexpr std::size_t narrow = 8;
  std::size_t line = 2 * (widths.size() - 1);
  for (const std::size_t width : widths)
    line += width;
  while (line > most_columns) {
    const auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= narrow) return;
    --*widest;
    --line;
  }
}

std::string Table::render(std::size_t most_columns) const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], terminal::columns(row[i]));
    }
  }
  shrink(widths, most_columns);
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += "  ";
      const std::string cell = terminal::fit(row[i], widths[i]);
      line += cell;
      line.append(widths[i] - terminal::columns(cell), ' ');
    }
    while (line.ends_with(' '))
      line.pop_back();
    out += terminal::fit(line, most_columns) + '\n';
  }
  return out;
}

}  // namespace nixbuild::cli
