// What `doctor` prints: its checks as lines or as JSON.
#pragma once

#include <string>
#include <vector>

#include "cli/machine/check.hpp"

namespace nixbuild::cli {

// A line a check, each with its remedy below it; marks in colour where that is wanted.
std::string report_lines(const std::vector<Check>& checks, bool colour);

// {"ok": …, "checks": [{"name", "state", "message", "remedy"}, …]}, `remedy` null where there is
// none. `ok` is whether no check has failed.
std::string report_json(const std::vector<Check>& checks);

// "✓ All is well", "! 1 warning", "✗ 2 checks failed, 1 warning".
std::string summary(const std::vector<Check>& checks);

bool has_failed(const std::vector<Check>& checks);

}  // namespace nixbuild::cli
