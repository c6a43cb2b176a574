#include "server/builder/realise.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include "common/base/error.hpp"
#include "server/builder/build_monitor.hpp"
#include "server/builder/derivation_file.hpp"
#include "server/builder/gc_roots.hpp"

namespace nixbuild::builder {
namespace {

using protocol::TargetResult;

namespace fs = std::filesystem;

// The maximum size of one program's arguments, in bytes. Linux allows a quarter of the stack limit,
// usually 2 MiB, for these and the environment.
constexpr std::size_t most_argument_bytes = std::size_t{1} << 20;
// How many parts a group is split into if the cause of its failure is unknown.
constexpr std::size_t groups = 4;
// The maximum number of derivations searched for a failure below a target.
constexpr std::size_t most_inputs = 100'000;

// Splits `operands` into parts that each fit into one program's arguments.
std::vector<std::vector<std::string>> parts_of(const std::vector<std::string>& operands) {
  std::vector<std::vector<std::string>> parts;
  std::size_t bytes = most_argument_bytes;
  for (const std::string& operand : operands) {
    const std::size_t size = operand.size() + 1 + sizeof(char*);
    if (bytes + size > most_argument_bytes) {
      parts.emplace_back();
      bytes = 0;
    }
    parts.back().push_back(operand);
    bytes += size;
  }
  return parts;
}

std::vector<std::string> pending_derivations(const std::vector<protocol::Target>& targets) {
  std::set<std::string> derivations;
  for (const protocol::Target& target : targets) {
    if (target.result == TargetResult::pending) derivations.insert(target.derivation);
  }
  return {derivations.begin(), derivations.end()};
}

Command realise_command(const Toolbox& tools, const std::vector<std::string>& operands,
                        const fs::path& root, const Toolbox::Options& options) {
  std::vector<std::string> arguments = {"nix-store",    "--realise",     "--keep-going",
                                        "--add-root",   root.string(),   "--indirect",
                                        "--log-format", "internal-json", "--"};
  arguments.insert(arguments.end(), operands.begin(), operands.end());
  Command command = tools.nix(std::move(arguments), options);
  // It does not evaluate; without a daemon, it is the parent of the builders.
  command.memory_limit = 0;
  return command;
}

// The `paths` that are not in the store.
std::set<std::string> invalid_paths(Toolbox& tools, const std::vector<std::string>& paths) {
  std::set<std::string> invalid;
  for (const auto& part : parts_of(paths)) {
    std::vector<std::string> arguments = {"nix-store", "--check-validity", "--print-invalid", "--"};
    arguments.insert(arguments.end(), part.begin(), part.end());
    const Exit exit = tools.run(tools.nix(std::move(arguments)));
    if (!exit.ok()) throw Error(fmt::format("querying the store: {}", reason_of(exit)));
    for (std::string& path : history::last_lines(exit.output)) {
      invalid.insert(std::move(path));
    }
  }
  return invalid;
}

bool is_dev_shell(const protocol::Target& target) {
  return target.name.starts_with("devShells.");
}

std::string reason_for(const std::string& derivation, const BuildMonitor::Failure& failure) {
  std::string reason = failure.reason.empty() ? "it failed" : failure.reason;
  // Nix names the derivation by its path; shorten it to the name, because it follows the target's
  // name.
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
    bool all_good = true;
    for (const auto& part : parts_of(derivations)) {
      if (!build(part)) all_good = false;
    }
    if (!all_good) {
      settle();
      const auto left = pending_derivations(targets_);
      if (!left.empty())
        report_.log(fmt::format("nix-store gave up: {}; trying again", last_error_));
      for (const auto& part : parts_of(left))
        build_again(part);
    }
    std::vector<std::string> unrooted;
    for (protocol::Target& target : targets_) {
      if (target.result != TargetResult::success) {
        if (!has_known_outputs(target)) target.outputs.clear();
        continue;
      }
      if (rooted_.insert(target.derivation).second) unrooted.push_back(target.derivation);
      if (!has_known_outputs(target)) find_outputs(target);
      for (protocol::Output& output : target.outputs) {
        output.nar_size = store_.nar_size(output.path).value_or(0);
      }
    }
    // If one was garbage-collected meanwhile, it is built again.
    for (const auto& part : parts_of(unrooted)) {
      if (!build(part)) throw Error(fmt::format("rooting what was built: {}", last_error_));
    }
    keep_inputs_of_dev_shells();
    return std::move(result_);
  }

 private:
  // Builds derivations, or outputs of them (DERIVATION!OUTPUT). If all succeed, Nix roots them and
  // this returns true; otherwise it roots none.
  bool build(const std::vector<std::string>& operands) {
    BuildMonitor monitor({[&](std::string_view line) { report_.log(line); },
                          [&](const std::string& drv) { return store_.is_built(drv); },
                          [] { return std::chrono::system_clock::now(); }});
    Command command = realise_command(tools_, operands,
                                      roots_ / fmt::format("{}{}", root_name_, ++calls_), options_);
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
    interrupted_.clear();
    for (const auto& [derivation, failure] : monitor.failures())
      (failure.is_interrupted ? interrupted_ : failures_).emplace(derivation, failure);
    if (!exit.ok()) return false;
    rooted_.insert(operands.begin(), operands.end());
    for (protocol::Target& target : targets_) {
      if (target.result == TargetResult::pending && rooted_.contains(target.derivation)) {
        target.result = TargetResult::success;
      }
    }
    return true;
  }

  // `nix develop` needs a shell's inputs, which its output may not refer to.
  void keep_inputs_of_dev_shells() {
    root_name_ = input_root;
    std::set<std::string> inputs;
    for (const protocol::Target& target : targets_) {
      if (target.result != TargetResult::success || !is_dev_shell(target)) continue;
      const auto shell = store_.derivation(target.derivation);
      if (!shell) continue;
      for (const auto& [derivation, outputs] : shell->inputs) {
        if (store_.is_derivation(derivation) && !outputs.empty() &&
            std::all_of(outputs.begin(), outputs.end(), is_output_name)) {
          inputs.insert(fmt::format("{}!{}", derivation, fmt::join(outputs, ",")));
        }
      }
      for (const std::string& source : shell->sources) {
        if (store_.is_store_path(source)) inputs.insert(source);
      }
    }
    for (const auto& part : parts_of({inputs.begin(), inputs.end()})) {
      if (build(part)) continue;
      report_.warn(fmt::format(
          "not everything that the dev shells are built from is kept from garbage collection: {}",
          last_error_));
    }
  }

  // Adds the progress of earlier programs.
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
      if (!progress.failed_names) progress.failed_names = done_before_.failed_names;
      status.progress = std::move(progress);
    });
  }

  // After a failure: pending targets that are in the store become "success", and those with a known
  // failure become "failed".
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

  // The output paths of a content-addressed derivation are unknown until it is built.
  bool has_known_outputs(const protocol::Target& target) const {
    return std::all_of(
        target.outputs.begin(), target.outputs.end(),
        [&](const protocol::Output& output) { return store_.is_store_path(output.path); });
  }

  // Queries the outputs of a built derivation: nix-store prints them sorted by name.
  void find_outputs(protocol::Target& target) {
    const Exit exit =
        tools_.run(tools_.nix({"nix-store", "--realise", "--", target.derivation}, options_));
    const auto paths = history::last_lines(exit.output);
    if (!exit.ok() || paths.size() != target.outputs.size() ||
        !std::all_of(paths.begin(), paths.end(),
                     [&](const std::string& path) { return store_.is_store_path(path); })) {
      throw Error(fmt::format("asking for the outputs of {}: {}", target.name, reason_of(exit)));
    }
    std::sort(target.outputs.begin(), target.outputs.end(),
              [](const auto& left, const auto& right) { return left.name < right.name; });
    for (std::size_t i = 0; i < paths.size(); ++i)
      target.outputs[i].path = paths[i];
  }

  // Some failures abort Nix in spite of --keep-going, such as a derivation for a system for which
  // there is no builder. Retries what was not reached, without the culprit or, while that is
  // unknown, in smaller groups.
  void build_again(const std::vector<std::string>& group) {
    if (build(group)) return;
    settle();
    std::set<std::string> pending;
    for (const std::string& derivation : pending_derivations(targets_))
      pending.insert(derivation);
    std::vector<std::string> left;
    std::copy_if(group.begin(), group.end(), std::back_inserter(left),
                 [&](const std::string& derivation) { return pending.contains(derivation); });
    if (left.empty()) return;
    if (left.size() < group.size()) {
      build_again(left);
      return;
    }
    if (left.size() == 1) {
      for (protocol::Target& target : targets_) {
        if (target.result != TargetResult::pending || target.derivation != left.front()) continue;
        target.result = TargetResult::failed;
        target.error = last_error_;
        const auto interrupted = interrupted_.find(target.derivation);
        if (interrupted != interrupted_.end()) target.log_tail = interrupted->second.log_tail;
      }
      return;
    }
    const std::size_t size = (left.size() + groups - 1) / groups;
    for (std::size_t begin = 0; begin < left.size(); begin += size) {
      const auto first = left.begin() + static_cast<std::ptrdiff_t>(begin);
      const auto last =
          left.begin() + static_cast<std::ptrdiff_t>(std::min(begin + size, left.size()));
      build_again({first, last});
    }
  }

  using Failures = std::map<std::string, BuildMonitor::Failure>;

  // If a derivation needs content-addressed ones, Nix instead builds another derivation of the same
  // name, with their paths filled in.
  Failures::const_iterator failure_of_resolved(const protocol::Target& target) const {
    if (has_known_outputs(target)) return failures_.end();
    return std::find_if(failures_.begin(), failures_.end(), [&](const auto& failure) {
      return !failure.second.is_consequence &&
             derivation_name(failure.first) == derivation_name(target.derivation);
    });
  }

  // Finds the cause of a target's failure: its own, or that of a derivation that it needs.
  bool explain(protocol::Target& target) {
    const auto own = failures_.find(target.derivation);
    const auto cause =
        own != failures_.end() && !own->second.is_consequence ? own : failure_of_resolved(target);
    if (cause != failures_.end()) {
      target.error = reason_for(cause->first, cause->second);
      target.log_tail = cause->second.log_tail;
      return true;
    }
    const auto below = failure_below(target.derivation);
    if (below != failures_.end()) {
      target.error = fmt::format("{}, which it needs: {}", derivation_name(below->first),
                                 reason_for(below->first, below->second));
      target.log_tail = below->second.log_tail;
      return true;
    }
    if (own == failures_.end()) return false;
    target.error = reason_for(own->first, own->second);
    return true;
  }

  // The first original failure among the derivations that `derivation` depends on.
  Failures::const_iterator failure_below(const std::string& derivation) {
    std::set<std::string> seen = {derivation};
    std::vector<std::string> waiting = {derivation};
    while (!waiting.empty() && seen.size() < most_inputs) {
      const std::string next = std::move(waiting.back());
      waiting.pop_back();
      for (const std::string& input : inputs_of(next)) {
        if (!seen.insert(input).second) continue;
        const auto failure = failures_.find(input);
        if (failure != failures_.end() && !failure->second.is_consequence) return failure;
        waiting.push_back(input);
      }
    }
    return failures_.end();
  }

  const std::vector<std::string>& inputs_of(const std::string& path) {
    const auto [known, is_new] = inputs_.try_emplace(path);
    if (is_new) {
      if (const auto derivation = store_.derivation(path)) {
        for (const auto& [input, outputs] : derivation->inputs)
          known->second.push_back(input);
      }
    }
    return known->second;
  }

  Toolbox& tools_;
  Report& report_;
  LocalStore& store_;
  std::vector<protocol::Target>& targets_;
  const fs::path& roots_;
  const Toolbox::Options& options_;
  Realised result_;
  Failures failures_;
  Failures interrupted_;  // because the last nix-store exited: these are retried
  std::set<std::string> rooted_;
  std::map<std::string, std::vector<std::string>> inputs_;  // of derivations, as far as queried
  std::string last_error_;
  protocol::Progress done_before_;
  const char* root_name_ = output_root;
  int calls_ = 0;
};

}  // namespace

Realised realise(Toolbox& tools, Report& report, LocalStore& store,
                 std::vector<protocol::Target>& targets, const fs::path& roots,
                 const Toolbox::Options& options) {
  return Realisation(tools, report, store, targets, roots, options).run();
}

}  // namespace nixbuild::builder
