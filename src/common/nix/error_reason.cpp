#include "common/nix/error_reason.hpp"

#include <cstddef>
#include <optional>

#include "common/base/terminal.hpp"

namespace nixbuild::nix {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

constexpr std::size_t longest_reason = 600;

// Returns what follows `mark` in `line`, if the line begins with it.
std::optional<std::string_view> behind(std::string_view line, std::string_view mark) {
  if (!line.starts_with(mark)) return std::nullopt;
  return trimmed(line.substr(mark.size()));
}

std::string_view without_end(std::string_view text, char end) {
  if (text.ends_with(end)) text.remove_suffix(1);
  return text;
}

// An error of Nix, which may have several lines: "Cannot build '….drv'." and "Reason: …", with the
// required and available systems or features; a wrong hash, and the right one.
class Reason {
 public:
  bool empty() const { return text_.empty(); }

  void begin(std::string_view first_line) {
    text_ = first_line;
    details_.clear();
  }

  void add(std::string_view line) {
    if (const auto reason = behind(line, "Reason:")) {
      if (text_.starts_with("Cannot build ")) {
        text_ =
            std::string(without_end(text_, '.')) + ": " + std::string(without_end(*reason, '.'));
      }
      return;
    }
    struct Detail {
      std::string_view mark;
      std::string_view shown;
    };
    constexpr Detail details[] = {{"Required system:", "required system: "},
                                  {"Current system:", "current system: "},
                                  {"Required features:", "required features: "},
                                  {"Available features:", "available features: "},
                                  {"specified:", "specified: "},
                                  {"got:", "got: "}};
    for (const Detail& detail : details) {
      const auto value = behind(line, detail.mark);
      if (!value) continue;
      if (!details_.empty()) details_ += ", ";
      details_ += std::string(detail.shown) + std::string(*value);
    }
  }

  std::string text() const {
    // Nix appends the last lines of the log: "failed with exit code 1;".
    if (details_.empty()) return std::string(without_end(text_, ';'));
    return std::string(without_end(text_, ':')) + " (" + details_ + ")";
  }

 private:
  std::string text_;
  std::string details_;
};

}  // namespace

std::string reason_in(std::string_view output) {
  Reason reason;
  std::string last_line;
  std::string of_git;    // nix reports only that git failed
  bool follows = false;  // the reason is on the line after "error:"
  while (!output.empty()) {
    const std::size_t end = output.find('\n');
    const std::string cleaned = terminal::printable(output.substr(0, end));
    output.remove_prefix(end == std::string_view::npos ? output.size() : end + 1);
    std::string_view line = trimmed(cleaned);
    if (line.empty()) continue;
    last_line = line;
    bool is_error = false;
    for (const std::string_view mark : {"error:", "fatal:"}) {
      const auto message = behind(line, mark);
      if (!message) continue;
      line = *message;
      if (mark == "fatal:" && of_git.empty()) of_git = line;
      is_error = true;
    }
    if (is_error) {
      follows = line.empty();
      if (!line.empty()) reason.begin(line);
    } else if (follows && !line.starts_with("\xe2\x80\xa6") && !line.starts_with("at ")) {
      reason.begin(line);
      follows = false;
    } else {
      reason.add(line);
    }
  }
  std::string text = reason.empty() ? last_line : reason.text();
  if (text.starts_with("program 'git' failed") && !of_git.empty()) text = of_git;
  if (text.size() > longest_reason) {
    std::size_t cut = longest_reason;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80)
      --cut;
    text.resize(cut);
    text += "\xe2\x80\xa6";
  }
  return text;
}

std::string reason_of(const Exit& exit) {
  // Earlier output is not the reason.
  if (exit.signal != 0) return exit.reason();
  const std::string reason = reason_in(exit.error);
  return reason.empty() ? exit.reason() : reason;
}

}  // namespace nixbuild::nix
