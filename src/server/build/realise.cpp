#include "server/build/realise.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <string>
#include <system_error>

#include "common/base/error.hpp"
#include "server/build/build_monitor.hpp"

namespace nixbuild::build {
namespace {

namespace fs = std::filesystem;

// Of one program's arguments; the system's limit for all of them is 2 MiB.
constexpr std::size_t most_paths_at_once = 4000;

std::vector<std::string> pending_derivations(const std::vector<protocol::Target>& targets) {
  std::set<std::string> derivations;
  for (const protocol::Target& target : targets) {
    if (target.result == "pending") derivations.insert(target.derivation);
  }
  return {derivations.begin(), derivations.end()};
}

Command realise_command(const Toolbox& tools, const std::vector<std::string>& derivations,
                        const fs::path& roots, const Toolbox::Options& options) {
  std::vector<std::string> arguments = {
      "nix-store",  "--realise",    "--keep-going", "--add-root", (roots / "root").string(),
      "--indirect", "--log-format", "internal-json"};
  arguments.insert(arguments.end(), derivations.begin(), derivations.end());
  return tools.nix(std::move(arguments), options);
}

// Those of `paths` that are not in the store.
std::set<std::string> invalid_paths(Toolbox& tools, const std::vector<std::string>& paths) {
  std::set<std::string> invalid;
  for (std::size_t begin = 0; begin < paths.size(); begin += most_paths_at_once) {
    std::vector<std::string> arguments = {"nix-store", "--check-validity", "--print-invalid"};
    const std::size_t end = std::min(paths.size(), begin + most_paths_at_once);
    arguments.insert(arguments.end(), paths.begin() + static_cast<std::ptrdiff_t>(begin),
                     paths.begin() + static_cast<std::ptrdiff_t>(end));
    const Exit exit = tools.run(tools.nix(std::move(arguments)));
    if (!exit.ok()) throw Error(fmt::format("asking what is in the store: {}", reason_of(exit)));
    for (std::string& path : last_lines(exit.output)) {
      invalid.insert(std::move(path));
    }
  }
  return invalid;
}

std::string reason_for(const std::string& derivation, const BuildMonitor::Failure& failure) {
  std::string reason = failure.reason.empty() ? "it failed" : failure.reason;
  // Nix names the derivation by its path; the name is enough behind the target's.
  const std::string quoted = "'" + derivation + "'";
  for (std::size_t at = reason.find(quoted); at != std::string::npos; at = reason.find(quoted)) {
    reason.replace(at, quoted.size(), derivation_name(derivation));
  }
  return reason;
}

// The failure that lies behind a target's: its own, or that of a derivation that it needs.
void explain(Toolbox& tools, const BuildMonitor& monitor, protocol::Target& target) {
  const auto& failures = monitor.failures();
  const auto own = failures.find(target.derivation);
  if (own != failures.end() && !own->second.is_consequence) {
    target.error = reason_for(own->first, own->second);
    target.log_tail = own->second.log_tail;
    return;
  }
  const Exit exit =
      tools.run(tools.nix({"nix-store", "--query", "--requisites", target.derivation}));
  for (const std::string& needed : last_lines(exit.output)) {
    const auto failure = failures.find(needed);
    if (needed == target.derivation || failure == failures.end() ||
        failure->second.is_consequence) {
      continue;
    }
    target.error = fmt::format("{}, which it needs: {}", derivation_name(needed),
                               reason_for(needed, failure->second));
    target.log_tail = failure->second.log_tail;
    return;
  }
  if (own != failures.end()) target.error = reason_for(own->first, own->second);
}

}  // namespace

Realised realise(Toolbox& tools, Report& report, LocalStore& store,
                 std::vector<protocol::Target>& targets, const fs::path& roots,
                 const Toolbox::Options& options) {
  const auto derivations = pending_derivations(targets);
  if (derivations.empty()) return {};
  fs::create_directories(roots);

  BuildMonitor monitor({[&](std::string_view line) { report.log(line); },
                        [&](const std::string& derivation) { return store.is_built(derivation); },
                        [] { return std::chrono::system_clock::now(); }});
  const auto show = [&] {
    report.update([&](protocol::BuildStatus& status) {
      auto progress = monitor.progress();
      progress.targets = status.progress.targets;
      progress.evaluated = status.progress.evaluated;
      status.progress = std::move(progress);
    });
  };
  Command command = realise_command(tools, derivations, roots, options);
  command.on_error_line = [&](std::string_view line) {
    monitor.handle_line(line);
    if (line.find("\"type\":101") == std::string_view::npos) show();
  };
  // With all of them good, this has rooted them in the same breath.
  const Exit exit = tools.run(std::move(command));
  monitor.finish();
  show();

  const auto reason_at_large = [&] {
    return monitor.last_error().empty() ? exit.reason() : monitor.last_error();
  };

  std::set<std::string> invalid;
  if (!exit.ok()) {
    std::vector<std::string> paths;
    for (const protocol::Target& target : targets) {
      for (const protocol::Output& output : target.outputs)
        paths.push_back(output.path);
    }
    invalid = invalid_paths(tools, paths);
    if (invalid.empty()) {
      throw Error(fmt::format("nix-store: {}", reason_at_large()));
    }
  }
  std::set<std::string> good;
  for (protocol::Target& target : targets) {
    if (target.result != "pending") continue;
    const bool built =
        std::none_of(target.outputs.begin(), target.outputs.end(),
                     [&](const protocol::Output& output) { return invalid.contains(output.path); });
    target.result = built ? "success" : "failed";
    if (built) {
      good.insert(target.derivation);
    } else {
      explain(tools, monitor, target);
      if (target.error.empty()) target.error = reason_at_large();
    }
  }
  if (!exit.ok() && !good.empty()) {
    // Nix roots nothing when anything fails. Should one of them have been collected meanwhile, it
    // is built again.
    BuildMonitor again({[&](std::string_view line) { report.log(line); },
                        [](const std::string&) { return true; },
                        [] { return std::chrono::system_clock::now(); }});
    command = realise_command(tools, {good.begin(), good.end()}, roots, options);
    command.on_error_line = [&](std::string_view line) { again.handle_line(line); };
    const Exit rooted = tools.run(std::move(command));
    if (!rooted.ok()) {
      throw Error(fmt::format("rooting what was built: {}",
                              again.last_error().empty() ? rooted.reason() : again.last_error()));
    }
  }
  for (protocol::Target& target : targets) {
    if (target.result != "success") continue;
    for (protocol::Output& output : target.outputs) {
      output.nar_size = store.nar_size(output.path).value_or(0);
    }
  }
  return {monitor.ended()};
}

void remove_old_roots(const fs::path& roots, int keep) {
  std::vector<std::pair<std::int64_t, fs::path>> builds;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(roots, error)) {
    const std::string name = entry.path().filename().string();
    std::int64_t number = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (bad != std::errc() || end != name.data() + name.size()) continue;
    if (fs::is_empty(entry.path(), error)) {
      fs::remove(entry.path(), error);
    } else {
      builds.emplace_back(number, entry.path());
    }
  }
  std::sort(builds.begin(), builds.end(), std::greater<>());
  for (std::size_t i = static_cast<std::size_t>(keep); i < builds.size(); ++i) {
    fs::remove_all(builds[i].second, error);
  }
}

}  // namespace nixbuild::build
