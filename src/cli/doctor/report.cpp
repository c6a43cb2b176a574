#include "cli/doctor/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/output.hpp"

namespace nixbuild::cli {
namespace {

long count(const std::vector<Check>& checks, CheckState state) {
  return std::count_if(checks.begin(), checks.end(),
                       [&](const Check& check) { return check.state == state; });
}

std::string plural(long number, std::string_view what) {
  return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
}

}  // namespace

bool has_failed(const std::vector<Check>& checks) {
  return count(checks, CheckState::failed) > 0;
}

std::string report_lines(const std::vector<Check>& checks, bool colour) {
  std::string text;
  for (const Check& check : checks) {
    const std::string lines = render(check);
    text += (colour ? with_coloured_mark(lines) : lines) + '\n';
  }
  return text;
}

std::string report_json(const std::vector<Check>& checks) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const Check& check : checks) {
    list.push_back({{"name", check.name},
                    {"state", to_string(check.state)},
                    {"message", check.message},
                    {"remedy", check.remedy.empty() ? Json() : Json(check.remedy)}});
  }
  const Json report = {{"ok", !has_failed(checks)}, {"checks", std::move(list)}};
  return report.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string summary(const std::vector<Check>& checks) {
  const long failed = count(checks, CheckState::failed);
  const long warnings = count(checks, CheckState::warning);
  if (failed == 0 && warnings == 0) return "✓ All is well";
  if (failed == 0) return fmt::format("! {}", plural(warnings, "warning"));
  return fmt::format("✗ {} failed{}", plural(failed, "check"),
                     warnings == 0 ? "" : fmt::format(", {}", plural(warnings, "warning")));
}

}  // namespace nixbuild::cli
