// The result of one check, and what to do if it failed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace nixbuild::cli {

enum class CheckState : std::uint8_t { ok, warning, failed };

struct Check {
  std::string name;  // a few words, the same whatever the result: "Tailscale"
  CheckState state = CheckState::ok;
  std::string message;
  std::string remedy;  // a command if possible; empty if all is well
};

// "ok", "warning", "failed".
std::string_view to_string(CheckState state);

// "✓ Tailscale: running", with the remedy on lines of its own, indented.
std::string render(const Check& check);

}  // namespace nixbuild::cli
