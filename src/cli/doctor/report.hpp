// The output of `doctor`: its checks as lines or as JSON.
#pragma once

#include <string>
#include <vector>

#include "cli/machine/check.hpp"

namespace nixbuild::cli {

// One line for each check, followed by its remedy; marks are coloured if requested.
std::string report_lines(const std::vector<Check>& checks, bool colour);

// {"ok": …, "checks": [{"name", "state", "message", "remedy"}, …]}; `remedy` is null if there is
// none. `ok` is true if no check failed.
std::string report_json(const std::vector<Check>& checks);

// "✓ All is well", "! 1 warning", "✗ 2 checks failed, 1 warning".
std::string summary(const std::vector<Check>& checks);

bool has_failed(const std::vector<Check>& checks);

}  // namespace nixbuild::cli
