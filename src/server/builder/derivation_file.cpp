#include "server/builder/derivation_file.hpp"

#include <utility>

namespace nixbuild::builder {
namespace {

// Thrown and caught only in this file.
struct Malformed {};

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool skip(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }

  void expect(std::string_view expected) {
    if (!skip(expected)) throw Malformed();
  }

  std::string string() {
    expect("\"");
    std::string text;
    while (true) {
      const std::size_t plain = rest_.find_first_of("\"\\");
      if (plain == std::string_view::npos || plain + 1 >= rest_.size()) throw Malformed();
      text += rest_.substr(0, plain);
      const char c = rest_[plain];
      const char escaped = rest_[plain + 1];
      if (c == '"') {
        rest_.remove_prefix(plain + 1);
        return text;
      }
      rest_.remove_prefix(plain + 2);
      switch (escaped) {
        case 'n':
          text += '\n';
          break;
        case 'r':
          text += '\r';
          break;
        case 't':
          text += '\t';
          break;
        default:
          text += escaped;
      }
    }
  }

  // Reads "[", elements separated by commas (each by `element`), "]".
  template <typename Element>
  void list(Element element) {
    expect("[");
    if (skip("]")) return;
    do {
      element();
    } while (skip(","));
    expect("]");
  }

  std::vector<std::string> strings() {
    std::vector<std::string> result;
    list([&] { result.push_back(string()); });
    return result;
  }

 private:
  std::string_view rest_;
};

Derivation read_derivation(Reader reader) {
  Derivation derivation;
  reader.expect("Derive(");
  reader.list([&] {
    reader.expect("(");
    Derivation::Output output;
    output.name = reader.string();
    reader.expect(",");
    output.path = reader.string();
    reader.expect(",");
    static_cast<void>(reader.string());  // the hash algorithm of a fixed output
    reader.expect(",");
    static_cast<void>(reader.string());  // and the hash
    reader.expect(")");
    derivation.outputs.push_back(std::move(output));
  });
  reader.expect(",");
  reader.list([&] {
    reader.expect("(");
    std::string input = reader.string();
    reader.expect(",");
    for (std::string& output : reader.strings())
      derivation.inputs[input].insert(std::move(output));
    reader.expect(")");
  });
  reader.expect(",");
  derivation.sources = reader.strings();
  reader.expect(",");
  derivation.system = reader.string();
  reader.expect(",");
  static_cast<void>(reader.string());  // the builder
  reader.expect(",");
  static_cast<void>(reader.strings());  // its arguments
  reader.expect(",");
  reader.list([&] {
    reader.expect("(");
    std::string name = reader.string();
    reader.expect(",");
    derivation.environment[std::move(name)] = reader.string();
    reader.expect(")");
  });
  reader.expect(")");
  return derivation;
}

}  // namespace

bool is_output_name(std::string_view text) {
  constexpr std::string_view allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._?=";
  return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

std::optional<Derivation> parse_derivation(std::string_view text) {
  try {
    return read_derivation(Reader(text));
  } catch (const Malformed&) {
    return std::nullopt;
  }
}

}  // namespace nixbuild::builder
