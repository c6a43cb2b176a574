// A table for people, whose columns are as wide as their widest cell.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace nixbuild::cli {

class Table {
 public:
  explicit Table(std::vector<std::string> headings) { rows_.push_back(std::move(headings)); }

  // As many cells as there are headings. Text from others must already be printable.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  // Lines with their line ends. If a line is wider than `most_columns`, the widest cells are cut.
  std::string render(std::size_t most_columns = static_cast<std::size_t>(-1)) const;

 private:
  void shrink(std::vector<std::size_t>& widths, std::size_t most_columns) const;

  std::vector<std::vector<std::string>> rows_;
};

}  // namespace nixbuild::cli
