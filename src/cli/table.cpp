#include "cli/table.hpp"

#include <algorithm>

#include "common/base/terminal.hpp"

namespace nixbuild::cli {

std::string Table::render(std::size_t most_columns) const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], terminal::columns(row[i]));
    }
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += "  ";
      line += row[i];
      line.append(widths[i] - terminal::columns(row[i]), ' ');
    }
    while (line.ends_with(' '))
      line.pop_back();
    out += terminal::fit(line, most_columns) + '\n';
  }
  return out;
}

}  // namespace nixbuild::cli
