#include "cli/build_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <vector>

#include "cli/progress_view.hpp"
#include "cli/table.hpp"
#include "common/base/terminal.hpp"
#include "common/protocol/names.hpp"

namespace nixbuild::cli {
namespace {

using protocol::Build;
using protocol::TargetResult;
using terminal::printable;

constexpr std::size_t short_commit = 8;
constexpr std::size_t most_derivations = 10;

std::string took(const std::optional<protocol::Time>& start,
                 const std::optional<protocol::Time>& finish) {
  return start && finish ? format_age(*finish - *start) : std::string("-");
}

std::string or_dash(std::string text) {
  return text.empty() ? "-" : text;
}

std::string first_line(std::string_view text) {
  return printable(text.substr(0, text.find('\n')));
}

std::string asked_by(const Build& build) {
  std::string out;
  if (!build.triggered_by.empty()) out = "by " + printable(build.triggered_by);
  if (!build.triggered_from.empty()) {
    out += (out.empty() ? "from " : ", from ") + printable(build.triggered_from);
  }
  return out;
}

std::string_view mark_of(TargetResult result) {
  switch (result) {
    case TargetResult::success:
      return "✓";
    case TargetResult::pending:
    case TargetResult::skipped:
      return "-";
    default:
      return "✗";
  }
}

// Why it failed, in one line. The rest of "1 of 2 targets failed: …" repeats the targets' own
// errors, which are printed below.
std::string summary_of(const Build& build) {
  std::string error = build.error.value_or("");
  error.resize(std::min(error.find('\n'), error.size()));
  return build.targets.empty() ? error : std::string(error_summary(error));
}

void add_head(std::string& out, const Build& build, const TimeStyle& style) {
  const auto add = [&out](std::string_view name, std::string_view value) {
    if (!value.empty()) out += fmt::format("  {:<9} {}\n", name, value);
  };
  out += fmt::format("Build #{} of {}: {}\n", build.id, printable(build.repository),
                     protocol::name_of(build.state));
  add("commit", printable(build.commit.value_or("")));
  add("subject", printable(build.commit_subject));
  add("author", printable(build.commit_author));
  add("asked", fmt::format("{} {}", show_time(build.queued_at, style), asked_by(build)));
  if (build.start) add("started", show_time(*build.start, style));
  if (build.finish) {
    add("finished", fmt::format("{}, {} later", show_time(*build.finish, style),
                                took(build.start, build.finish)));
  }
  add("error", printable(summary_of(build)));
  add("lock", build.has_lock ? fmt::format("nixbuild builds {} --lock", build.id) : "");
}

void add_phases(std::string& out, const Build& build) {
  if (build.phases.empty()) return;
  out += "\nPhases\n";
  for (const protocol::Phase& phase : build.phases) {
    out += fmt::format("  {:<9} {}\n", printable(phase.name), took(phase.start, phase.finish));
  }
}

void add_targets(std::string& out, const Build& build) {
  if (build.targets.empty()) return;
  out += "\nTargets\n";
  for (const protocol::Target& target : build.targets) {
    out += fmt::format("  {} {}", mark_of(target.result), printable(target.name));
    if (!target.error.empty()) {
      out += ": " + printable(target.error);
    } else if (target.result != TargetResult::success) {
      out += ": " + std::string(protocol::name_of(target.result));
    }
    out += '\n';
    // A failed target lists the paths that it would have had.
    for (const protocol::Output& output : target.outputs) {
      if (target.result != TargetResult::success) break;
      out += fmt::format("      {} ({})\n", printable(output.path), format_bytes(output.nar_size));
    }
    for (const std::string& line : target.log_tail)
      out += fmt::format("      > {}\n", printable(line));
  }
}

void add_derivations(std::string& out, const Build& build) {
  if (build.derivations.empty()) return;
  std::vector<const protocol::DerivationTime*> longest;
  for (const auto& derivation : build.derivations)
    longest.push_back(&derivation);
  std::stable_sort(longest.begin(), longest.end(), [](const auto* left, const auto* right) {
    return left->milliseconds > right->milliseconds;
  });
  const std::size_t shown = std::min(longest.size(), most_derivations);
  out += fmt::format("\nDerivations built: {}{}\n", longest.size(),
                     shown < longest.size() ? ", the longest" : "");
  for (std::size_t i = 0; i < shown; ++i) {
    const auto age =
        std::chrono::seconds(static_cast<std::int64_t>(longest[i]->milliseconds / 1000));
    out += fmt::format("  {:>7}  {}{}\n", format_age(age), printable(longest[i]->name),
                       longest[i]->failed ? "  (failed)" : "");
  }
}

}  // namespace

std::string builds_table(const protocol::BuildList& list, const TimeStyle& style,
                         std::size_t most_columns) {
  Table table({"ID", "REPOSITORY", "RESULT", "STARTED", "TOOK", "COMMIT", "BY", "WHAT"});
  for (const Build& build : list.builds) {
    const std::string commit = printable(build.commit.value_or("")).substr(0, short_commit);
    table.add(
        {std::to_string(build.id), printable(build.repository),
         std::string(protocol::name_of(build.state)),
         build.start ? show_age(*build.start, style) : "-", took(build.start, build.finish),
         or_dash(commit),
         or_dash(printable(build.triggered_by.empty() ? build.triggered_from : build.triggered_by)),
         or_dash(first_line(build.error.value_or(build.commit_subject)))});
  }
  return table.render(most_columns);
}

std::string build_report(const Build& build, const TimeStyle& style) {
  std::string out;
  add_head(out, build, style);
  add_phases(out, build);
  add_targets(out, build);
  add_derivations(out, build);
  return out;
}

}  // namespace nixbuild::cli
