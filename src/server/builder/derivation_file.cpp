#include "server/builder/derivation_file.hpp"

namespace nixbuild::builder {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool skip(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }

  // A string in double quotes, where a backslash takes the next character as it is. Names and paths
  // of outputs need no other escapes.
  std::optional<std::string> string() {
    if (!skip("\"")) return std::nullopt;
    std::string text;
    while (!rest_.empty()) {
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return text;
      if (c == '\\') {
        if (rest_.empty()) break;
        c = rest_.front();
        rest_.remove_prefix(1);
      }
      text += c;
    }
    return std::nullopt;
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::optional<std::vector<std::string>> derivation_outputs(std::string_view text) {
  Reader reader(text);
  std::vector<std::string> paths;
  if (!reader.skip("Derive([")) return std::nullopt;
  do {
    if (!reader.skip("(") || !reader.string() || !reader.skip(",")) return std::nullopt;
    auto path = reader.string();
    if (!path || !reader.skip(",") || !reader.string() || !reader.skip(",") || !reader.string() ||
        !reader.skip(")")) {
      return std::nullopt;
    }
    paths.push_back(std::move(*path));
  } while (reader.skip(","));
  if (!reader.skip("]")) return std::nullopt;
  return paths;
}

}  // namespace nixbuild::builder
