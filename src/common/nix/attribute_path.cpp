#include "common/nix/attribute_path.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/nix/expression.hpp"
#include "common/nix/hash.hpp"

namespace nixbuild::nix {
namespace {

constexpr std::size_t hash_digits = 8;

bool is_identifier(std::string_view text) {
  const auto is_letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  const auto is_inner = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '\'';
  };
  return !text.empty() && (is_letter(text.front()) || text.front() == '_') &&
         std::all_of(text.begin(), text.end(), is_inner);
}

}  // namespace

std::string attribute_name(const AttributePath& path) {
  std::string name;
  for (const std::string& part : path) {
    if (!name.empty()) name += '.';
    name += is_identifier(part) ? part : nix_string(part);
  }
  std::string shown = terminal::printable(name, longest_attribute_name);
  if (shown != name) shown += "#" + sha256(name).base16().substr(0, hash_digits);
  return shown;
}

AttributePath parse_attribute_path(std::string_view text) {
  const auto fail = [&text] {
    throw UsageError(
        fmt::format("'{}' is not an attribute path such as packages.x86_64-linux.hello", text));
  };
  AttributePath path;
  std::string_view rest = text;
  while (true) {
    std::string part;
    if (rest.starts_with('"')) {
      const std::size_t end = rest.find('"', 1);
      if (end == std::string_view::npos) fail();
      part = rest.substr(1, end - 1);
      rest.remove_prefix(end + 1);
    } else {
      part = rest.substr(0, rest.find('.'));
      rest.remove_prefix(part.size());
    }
    if (part.empty()) fail();
    path.push_back(std::move(part));
    if (rest.empty()) return path;
    if (rest.front() != '.') fail();
    rest.remove_prefix(1);
  }
}

}  // namespace nixbuild::nix
