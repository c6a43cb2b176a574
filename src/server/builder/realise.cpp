#include "server/builder/realise.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <string>
#include <system_error>

#include "common/base/error.hpp"
#include "server/builder/build_monitor.hpp"

namespace nixbuild::builder {
namespace {

using protocol::TargetResult;

namespace fs = std::filesystem;

// Of one program's arguments; the system's limit for all of them is 2 MiB.
constexpr std::size_t most_paths_at_once = 4000;

std::vector<std::string> pending_derivations(const std::vector<protocol::Target>& targets) {
  std::set<std::string> derivations;
  for (const protocol::Target& target : targets) {
    if (target.result == TargetResult::pending) derivations.insert(target.derivation);
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
    for (std::string& path : history::last_lines(exit.output)) {
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

class Realisation {
 public:
  Realisation(Toolbox& tools, Report& report, LocalStore& store,
              std::vector<protocol::Target>& targets, const fs::path& roots,
              const Toolbox::Options& options)
      : tools_(tools),
        report_(report),
        store_(store),
        targets_(targets),
        roots_(roots),
        options_(options) {}

  Realised run() {
    const auto derivations = pending_derivations(targets_);
    if (derivations.empty()) return {};
    fs::create_directories(roots_);
    // Where all are good, this has rooted them in the same breath.
    const bool is_rooted = build(derivations);
    if (!is_rooted) {
      settle();
      build_again(pending_derivations(targets_));
    }
    std::set<std::string> good;
    for (protocol::Target& target : targets_) {
      if (target.result == TargetResult::pending) target.result = TargetResult::success;
      if (target.result != TargetResult::success) {
        if (!has_known_outputs(target)) target.outputs.clear();
        continue;
      }
      good.insert(target.derivation);
      if (!has_known_outputs(target)) find_outputs(target);
      for (protocol::Output& output : target.outputs) {
        output.nar_size = store_.nar_size(output.path).value_or(0);
      }
    }
    // Nix roots nothing when anything fails. Should one of them have been collected meanwhile, it
    // is built again.
    if (!is_rooted && !good.empty() && !build({good.begin(), good.end()})) {
      throw Error(fmt::format("rooting what was built: {}", last_error_));
    }
    return std::move(result_);
  }

 private:
  // False where Nix says that anything failed.
  bool build(const std::vector<std::string>& derivations) {
    BuildMonitor monitor({[&](std::string_view line) { report_.log(line); },
                          [&](const std::string& drv) { return store_.is_built(drv); },
                          [] { return std::chrono::system_clock::now(); }});
    Command command = realise_command(tools_, derivations, roots_, options_);
    command.on_error_line = [&](std::string_view line) {
      monitor.handle_line(line);
      if (monitor.has_changed()) show(monitor);
    };
    const Exit exit = tools_.run(std::move(command));
    last_error_ = exit.signal != 0               ? fmt::format("nix-store: {}", exit.reason())
                  : monitor.last_error().empty() ? exit.reason()
                                                 : monitor.last_error();
    monitor.finish(last_error_);
    show(monitor);
    done_before_ = report_.status().progress;
    auto& times = result_.derivations;
    times.insert(times.end(), monitor.ended().begin(), monitor.ended().end());
    failures_.insert(monitor.failures().begin(), monitor.failures().end());
    return exit.ok();
  }

  // What was done by earlier programs counts too.
  void show(const BuildMonitor& monitor) {
    report_.update([&](protocol::BuildStatus& status) {
      auto progress = monitor.progress();
      progress.targets = status.progress.targets;
      progress.evaluated = status.progress.evaluated;
      progress.built += done_before_.built;
      progress.to_build += done_before_.built;
      progress.failed += done_before_.failed;
      progress.copied += done_before_.copied;
      progress.to_copy += done_before_.copied;
      progress.bytes_copied += done_before_.bytes_copied;
      progress.bytes_to_copy += done_before_.bytes_copied;
      status.progress = std::move(progress);
    });
  }

  // After a failure: pending targets that are in the store become "success", those whose failure
  // is known "failed".
  void settle() {
    std::vector<std::string> paths;
    for (const protocol::Target& target : targets_) {
      if (target.result != TargetResult::pending || !has_known_outputs(target)) continue;
      for (const protocol::Output& output : target.outputs)
        paths.push_back(output.path);
    }
    const auto invalid = invalid_paths(tools_, paths);
    for (protocol::Target& target : targets_) {
      if (target.result != TargetResult::pending) continue;
      const bool built =
          has_known_outputs(target) && std::none_of(target.outputs.begin(), target.outputs.end(),
                                                    [&](const protocol::Output& output) {
                                                      return invalid.contains(output.path);
                                                    });
      if (built) {
        target.result = TargetResult::success;
      } else if (explain(target)) {
        target.result = TargetResult::failed;
      }
    }
  }

  // The paths of a derivation that is addressed by its content are not known before it is built;
  // until then it has placeholders for them, which lie in no store.
  bool has_known_outputs(const protocol::Target& target) const {
    const auto& store_dir = store_.layout().store_dir;
    return std::all_of(
        target.outputs.begin(), target.outputs.end(),
        [&](const protocol::Output& output) { return store_dir.parse(output.path).has_value(); });
  }

  // Of a derivation that is built: nix-store prints its outputs in the order of their names.
  void find_outputs(protocol::Target& target) {
    const Exit exit =
        tools_.run(tools_.nix({"nix-store", "--realise", target.derivation}, options_));
    const auto paths = history::last_lines(exit.output);
    if (!exit.ok() || paths.size() != target.outputs.size()) {
      throw Error(fmt::format("asking for the outputs of {}: {}", target.name, reason_of(exit)));
    }
    std::sort(target.outputs.begin(), target.outputs.end(),
              [](const auto& left, const auto& right) { return left.name < right.name; });
    for (std::size_t i = 0; i < paths.size(); ++i)
      target.outputs[i].path = paths[i];
  }

  // Some failures end Nix as a whole in spite of --keep-going, such as a derivation for a system
  // that nobody here builds for. What it did not get to is tried again without the culprit, and
  // where there is no telling who that is, one by one.
  void build_again(std::vector<std::string> waiting) {
    while (!waiting.empty()) {
      report_.log(
          fmt::format("nix-store gave up: {}; going on without what caused it", last_error_));
      if (build(waiting)) return;
      settle();
      const auto left = pending_derivations(targets_);
      if (left.size() == waiting.size()) break;
      waiting = left;
    }
    for (const std::string& derivation : waiting) {
      if (build({derivation})) continue;
      settle();
      for (protocol::Target& target : targets_) {
        if (target.result != TargetResult::pending || target.derivation != derivation) continue;
        target.result = TargetResult::failed;
        target.error = last_error_;
      }
    }
  }

  using Failures = std::map<std::string, BuildMonitor::Failure>;

  // Where what a derivation needs is addressed by its content, Nix builds another derivation of the
  // same name in its place, which has the paths in it.
  Failures::const_iterator failure_of_resolved(const protocol::Target& target) const {
    if (has_known_outputs(target)) return failures_.end();
    return std::find_if(failures_.begin(), failures_.end(), [&](const auto& failure) {
      return !failure.second.is_consequence &&
             derivation_name(failure.first) == derivation_name(target.derivation);
    });
  }

  // Finds the failure that lies behind a target's: its own, or that of a derivation that it needs.
  bool explain(protocol::Target& target) {
    const auto own = failures_.find(target.derivation);
    const auto cause =
        own != failures_.end() && !own->second.is_consequence ? own : failure_of_resolved(target);
    if (cause != failures_.end()) {
      target.error = reason_for(cause->first, cause->second);
      target.log_tail = cause->second.log_tail;
      return true;
    }
    const Exit exit =
        tools_.run(tools_.nix({"nix-store", "--query", "--requisites", target.derivation}));
    for (const std::string& needed : history::last_lines(exit.output)) {
      const auto failure = failures_.find(needed);
      if (failure == failures_.end() || failure->second.is_consequence) continue;
      target.error = fmt::format("{}, which it needs: {}", derivation_name(needed),
                                 reason_for(needed, failure->second));
      target.log_tail = failure->second.log_tail;
      return true;
    }
    if (own == failures_.end()) return false;
    target.error = reason_for(own->first, own->second);
    return true;
  }

  Toolbox& tools_;
  Report& report_;
  LocalStore& store_;
  std::vector<protocol::Target>& targets_;
  const fs::path& roots_;
  const Toolbox::Options& options_;
  Realised result_;
  Failures failures_;
  std::string last_error_;
  protocol::Progress done_before_;
};

}  // namespace

Realised realise(Toolbox& tools, Report& report, LocalStore& store,
                 std::vector<protocol::Target>& targets, const fs::path& roots,
                 const Toolbox::Options& options) {
  return Realisation(tools, report, store, targets, roots, options).run();
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

}  // namespace nixbuild::builder
