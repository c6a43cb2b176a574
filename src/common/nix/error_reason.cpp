#include "common/nix/error_reason.hpp"

#include <cstddef>

#include "common/base/terminal.hpp"

namespace nixbuild::nix {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

constexpr std::size_t longest_reason = 600;

}  // namespace

std::string reason_in(std::string_view output) {
  std::string reason;
  std::string last_line;
  std::string of_git;    // nix says only that git failed
  bool follows = false;  // the reason stands on a line of its own behind "error:"
  while (!output.empty()) {
    const std::size_t end = output.find('\n');
    const std::string cleaned = terminal::printable(output.substr(0, end));
    output.remove_prefix(end == std::string_view::npos ? output.size() : end + 1);
    std::string_view line = trimmed(cleaned);
    if (line.empty()) continue;
    last_line = line;
    bool is_error = false;
    for (const std::string_view mark : {"error:", "fatal:"}) {
      if (!line.starts_with(mark)) continue;
      line = trimmed(line.substr(mark.size()));
      if (mark == "fatal:" && of_git.empty()) of_git = line;
      is_error = true;
    }
    if (is_error) {
      follows = line.empty();
      if (!line.empty()) reason = line;
    } else if (follows && !line.starts_with("\xe2\x80\xa6") && !line.starts_with("at ")) {
      reason = line;
      follows = false;
    }
  }
  if (reason.empty()) reason = last_line;
  if (reason.starts_with("program 'git' failed") && !of_git.empty()) reason = of_git;
  if (reason.size() > longest_reason) {
    std::size_t cut = longest_reason;
    while (cut > 0 && (static_cast<unsigned char>(reason[cut]) & 0xc0) == 0x80)
      --cut;
    reason.resize(cut);
    reason += "\xe2\x80\xa6";
  }
  return reason;
}

std::string reason_of(const Exit& exit) {
  // What it said before that is not why.
  if (exit.signal != 0) return exit.reason();
  const std::string reason = reason_in(exit.error);
  return reason.empty() ? exit.reason() : reason;
}

}  // namespace nixbuild::nix
