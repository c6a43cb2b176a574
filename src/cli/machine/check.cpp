#include "cli/machine/check.hpp"

#include <fmt/format.h>

#include "common/base/terminal.hpp"

namespace nixbuild::cli {
namespace {

constexpr std::string_view mark_of(CheckState state) {
  switch (state) {
    case CheckState::ok:
      return "✓";
    case CheckState::warning:
      return "!";
    case CheckState::failed:
      break;
  }
  return "✗";
}

}  // namespace

std::string_view to_string(CheckState state) {
  switch (state) {
    case CheckState::ok:
      return "ok";
    case CheckState::warning:
      return "warning";
    case CheckState::failed:
      break;
  }
  return "failed";
}

std::string render(const Check& check) {
  std::string text = fmt::format("{} {}: {}", mark_of(check.state), check.name,
                                 terminal::printable(check.message));
  std::string_view rest = check.remedy;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    text += fmt::format("\n    {}", terminal::printable(rest.substr(0, end)));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return text;
}

}  // namespace nixbuild::cli
