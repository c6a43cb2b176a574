#include "server/builder/targets.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "server/builder/derivation_file.hpp"
#include "server/builder/evaluation_result.hpp"
#include "server/builder/interruption.hpp"
#include "server/builder/nix_expression.hpp"
#include "server/history/kept_text.hpp"

namespace nixbuild::builder {
namespace {

namespace fs = std::filesystem;

// A large configuration takes several gigabytes to evaluate, so this many at once.
constexpr std::size_t most_at_once = 4;
// How many parts a group is split into if it does not evaluate as a whole.
constexpr std::size_t parts = 4;
constexpr std::size_t longest_claim = 200;  // bytes of a repository's text, in a message
constexpr std::size_t longest_reason = 600;
constexpr std::size_t most_logged_lines = 1000;
// The limit for names, derivations and outputs of a build's targets, about thirty thousand targets,
// in bytes: the history stores them, and the API returns them.
constexpr std::size_t most_target_bytes = std::size_t{16} << 20;

// The work of one evaluating process.
struct Job {
  enum class Kind { evaluate, outline, home };
  Kind kind = Kind::evaluate;
  std::vector<Root> roots;
  // For each of `roots`, the starting point of the search that led to it.
  std::vector<std::size_t> beginnings;
  std::string home;  // Kind::home: the expression
};

// Nix reports this last, or its garbage collector does before it aborts.
bool ran_out_of_memory(const Exit& exit) {
  if (exit.ok()) return false;
  return exit.signal == 0 ? reason_in(exit.error) == "out of memory"
                          : exit.error.find("Out of Memory") != std::string::npos;
}

// At most as many as the history keeps for a target.
std::vector<std::string> last_lines_of(const std::string& error) {
  std::vector<std::string> lines = history::last_lines(error, history::log_tail_lines);
  std::size_t left = history::target_text_limit;
  auto first = lines.end();
  while (first != lines.begin() && std::prev(first)->size() < left) {
    --first;
    left -= first->size() + 1;
  }
  lines.erase(lines.begin(), first);
  return lines;
}

// A target, and the starting point of its search.
struct Item {
  std::size_t beginning = 0;
  nix::AttributePath path;
  protocol::Target target;
};

class Evaluation {
 public:
  Evaluation(Toolbox& tools, Report& report, const LocalStore& store, const TargetSource& source,
             const fs::path& root)
      : tools_(tools),
        report_(report),
        store_(store),
        source_(source),
        root_(root),
        targets_before_(report.status().progress.targets) {}

  std::vector<protocol::Target> run() {
    begin();
    while (!waiting_.empty() || !hungry_.empty()) {
      if (waiting_.empty()) {
        waiting_.push_back(std::move(hungry_.back()));
        hungry_.pop_back();
      }
      run_waiting();
      if (std::exchange(needs_check_, false)) check();
      Job listed = std::exchange(listed_, {});
      split(listed, has_failed_ ? parts : 1);
    }
    refuse_empty_beginnings();
    show(0);
    return sorted_targets();
  }

 private:
  bool is_flake() const { return !source_.reference.empty(); }

  void begin() {
    if (!source_.wanted.empty()) {
      for (const nix::AttributePath& path : source_.wanted)
        beginnings_.push_back({Root::Kind::wanted, path});
    } else if (!is_flake()) {
      beginnings_.push_back({Root::Kind::wanted, {}});
    } else {
      for (const char* kind : {"packages", "checks", "devShells"}) {
        for (const std::string& system : source_.systems)
          beginnings_.push_back({Root::Kind::group, {kind, system}});
      }
      beginnings_.push_back({Root::Kind::group, {"nixosConfigurations"}});
      beginnings_.push_back({Root::Kind::group, {"homeConfigurations"}});
    }
    if (is_flake()) begin_with_home_modules();
    Job job;
    job.roots = beginnings_;
    for (std::size_t i = 0; i < beginnings_.size(); ++i)
      job.beginnings.push_back(i);
    waiting_.push_back(std::move(job));
  }

  // Home modules are not derivations, so build a configuration that uses them.
  void begin_with_home_modules() {
    const auto are_home_modules = [](const Root& root) {
      return root.path.front() == "homeModules" || root.path.front() == "homeManagerModules";
    };
    const std::size_t erased = std::erase_if(beginnings_, are_home_modules);
    if (source_.wanted.empty() || erased > 0) {
      beginnings_.push_back({Root::Kind::home, {"homeModules"}});
    }
  }

  Query query_of(const std::vector<Root>& roots) const {
    return {source_.reference, (tools_.clone() / tools_.in_dir("default.nix")).string(),
            source_.systems, roots};
  }

  std::string expression_of(const Job& job) const {
    switch (job.kind) {
      case Job::Kind::evaluate:
        return evaluate_expression(query_of(job.roots));
      case Job::Kind::outline:
        return outline_expression(query_of(job.roots));
      case Job::Kind::home:
        return job.home;
    }
    return {};
  }

  // The GC root for a process's result.
  fs::path new_result() { return fmt::format("{}-{}", root_.string(), ++results_); }

  Command command_of(const std::string& expression, const fs::path& result) const {
    Toolbox::Options options = source_.options;
    std::vector<std::string> arguments = {"nix-instantiate", "--add-root", result.string(),
                                          "--indirect"};
    if (is_flake()) {
      options.emplace_back("pure-eval", "true");
    } else {
      const auto restriction = Toolbox::restriction();
      options.insert(options.end(), restriction.begin(), restriction.end());
      for (const std::string& entry : tools_.search_path())
        arguments.insert(arguments.end(), {"-I", entry});
    }
    arguments.emplace_back("-");
    Command command = tools_.nix(std::move(arguments), options);
    // Attribute names may be longer than an argument can be.
    command.input = expression;
    return command;
  }

  void run_waiting() {
    const std::vector<Job> jobs = std::exchange(waiting_, {});
    std::vector<Command> commands;
    std::vector<fs::path> results;
    std::size_t left = 0;
    for (const Job& job : jobs) {
      results.push_back(new_result());
      commands.push_back(command_of(expression_of(job), results.back()));
      left += job.roots.size();
    }
    // The number of targets is unknown before the first process has ended.
    if (!items_.empty()) show(left);
    const std::size_t at_once = std::min(
        jobs.size(), std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, most_at_once));
    for (Command& command : commands)
      command.memory_limit /= at_once;
    tools_.run_all(std::move(commands), at_once, [&](std::size_t index, const Exit& exit) {
      const Job& job = jobs[index];
      const auto found = exit.ok() ? read_result(results[index]) : std::nullopt;
      if (found) {
        for (const std::string& line : history::last_lines(exit.error, most_logged_lines))
          report_.log(fmt::format("nix: {}", line));
        for (const Found& one : *found)
          take(job, one);
      } else if (at_once > 1 && ran_out_of_memory(exit)) {
        hungry_.push_back(job);
      } else {
        give_up(job, exit);
      }
      left -= job.roots.size();
      show(left + waiting_.size() + hungry_.size() + listed_.roots.size());
    });
  }

  // Reads Nix's result from the derivation that `link` points to.
  std::optional<std::vector<Found>> read_result(const fs::path& link) const {
    std::error_code error;
    const auto derivation = store_.derivation(fs::read_symlink(link, error).string());
    if (!derivation) return std::nullopt;
    const auto result = derivation->environment.find("result");
    if (result == derivation->environment.end()) return std::nullopt;
    return parse_evaluation_result(result->second);
  }

  // A process failed: evaluates its roots in smaller groups or, if there is only one, records its
  // failure.
  void give_up(const Job& job, const Exit& exit) {
    has_failed_ = true;
    if ((exit.signal != 0 || ran_out_of_memory(exit)) && job.roots.size() > 1) {
      report_.warn(fmt::format("evaluating {} targets at once: {}; trying fewer at a time",
                               job.roots.size(), reason_for(exit)));
    }
    const bool is_beginning = job.roots.front().kind != Root::Kind::listed;
    if (job.kind == Job::Kind::evaluate && (is_beginning || job.roots.size() == 1)) {
      Job outline = job;
      outline.kind = Job::Kind::outline;
      waiting_.push_back(std::move(outline));
    } else if (job.kind == Job::Kind::evaluate) {
      split(job, parts);
    } else {
      if (is_beginning && job.kind == Job::Kind::outline) needs_check_ = true;
      if (job.roots.size() == 1) {
        fail(job.beginnings.front(), job.roots.front().path, exit);
      } else {
        split(job, job.roots.size());
      }
    }
  }

  // Throws if the repository does not evaluate at all.
  void check() {
    if (std::exchange(is_checked_, true)) return;
    const Exit exit = tools_.run_logged(command_of(check_expression(query_of({})), new_result()));
    if (!exit.ok()) throw Error(reason_for(exit));
  }

  std::string reason_for(const Exit& exit) const {
    if (!ran_out_of_memory(exit)) return reason_of(exit);
    return fmt::format("it needs more memory than eval_memory in [build] allows ({} MiB)",
                       tools_.eval_memory() >> 20);
  }

  void split(const Job& job, std::size_t count) {
    const std::size_t size = (job.roots.size() + count - 1) / count;
    for (std::size_t begin = 0; begin < job.roots.size(); begin += size) {
      const std::size_t end = std::min(begin + size, job.roots.size());
      Job part;
      part.kind = job.kind;
      for (std::size_t i = begin; i < end; ++i) {
        part.roots.push_back(job.roots[i]);
        part.beginnings.push_back(job.beginnings[i]);
      }
      waiting_.push_back(std::move(part));
    }
  }

  void take(const Job& job, const Found& found) {
    if (found.root >= job.roots.size()) return;
    const std::size_t beginning = job.beginnings[found.root];
    const Root& root = job.roots[found.root];
    switch (found.kind) {
      case Found::Kind::derivation:
      case Found::Kind::empty_home:
        accept(beginning, job.kind == Job::Kind::home ? root.path : found.path, found);
        return;
      case Found::Kind::alone: {
        Job alone;
        alone.kind = Job::Kind::outline;
        const bool is_root = found.path == root.path;
        alone.roots = {{is_root ? root.kind : Root::Kind::listed, found.path}};
        alone.beginnings = {beginning};
        waiting_.push_back(std::move(alone));
        return;
      }
      case Found::Kind::listed:
        listed_.roots.push_back({Root::Kind::listed, found.path});
        listed_.beginnings.push_back(beginning);
        return;
      case Found::Kind::refused:
        refuse(beginning, found.path, found.reason);
        return;
      case Found::Kind::ignored:
        report_.log(fmt::format("{}: ignored: {}", name_of(found.path), found.reason));
        return;
      case Found::Kind::home:
        if (found.has_home_modules) add_home(beginning, found.has_home_manager);
        return;
    }
  }

  void add_home(std::size_t beginning, bool has_home_manager) {
    std::string home_manager;
    std::string problem;
    if (!has_home_manager) {
      if (source_.home_manager.empty()) {
        report_.warn(
            "the home modules are not tested: the flake has no input 'home-manager', and "
            "home_manager in [build] is not set");
        return;
      }
      try {
        home_manager = locked_home_manager();
      } catch (const Interrupted&) {
        throw;
      } catch (const Error& error) {
        problem = error.what();
      }
    }
    for (const std::string& system : source_.systems) {
      const nix::AttributePath path = source_.systems.size() == 1
                                          ? nix::AttributePath{"homeModules"}
                                          : nix::AttributePath{"homeModules", system};
      if (!problem.empty()) {
        refuse(beginning, path, problem);
        continue;
      }
      Job job;
      job.kind = Job::Kind::home;
      job.roots = {{Root::Kind::home, path}};
      job.beginnings = {beginning};
      job.home = home_expression({source_.reference, system, home_manager, source_.home_config});
      waiting_.push_back(std::move(job));
    }
  }

  // Pure evaluation accepts only locked references.
  std::string locked_home_manager() {
    const Exit exit = tools_.run(tools_.nix(
        {"nix", "flake", "metadata", "--json", "--", source_.home_manager}, source_.options));
    const auto json = nlohmann::json::parse(exit.output, nullptr, false);
    if (!exit.ok() || !json.is_object() || !json.contains("url") || !json.at("url").is_string()) {
      throw Error(fmt::format("home_manager = \"{}\": {}", source_.home_manager, reason_of(exit)));
    }
    return json.at("url").get<std::string>();
  }

  std::string name_of(const nix::AttributePath& path) const {
    nix::AttributePath shown = path;
    if (!is_flake()) shown.insert(shown.begin(), "default");
    std::string name = nix::attribute_name(shown);
    if (!source_.label.empty()) name += fmt::format(" ({})", source_.label);
    return name;
  }

  // Nothing if a target of this name already exists.
  protocol::Target* add(std::size_t beginning, const nix::AttributePath& path) {
    std::string name = name_of(path);
    if (!names_.insert(name).second) return nullptr;
    count_bytes(name.size());
    Item& item = items_.emplace_back();
    item.beginning = beginning;
    item.path = path;
    item.target.name = std::move(name);
    return &item.target;
  }

  void count_bytes(std::size_t count) {
    bytes_ += count;
    if (bytes_ <= most_target_bytes) return;
    throw Error(fmt::format(
        "the repository offers too much to build: the names, derivations and outputs of "
        "its targets have more than {} MiB; choose among them with targets",
        most_target_bytes >> 20));
  }

  // Does not trust the repository's claims about a derivation: its outputs are taken from its file
  // in the store.
  void accept(std::size_t beginning, const nix::AttributePath& path, const Found& found) {
    if (is_for_another_system(path, found.system)) {
      if (beginnings_[beginning].path == path) {
        refuse(beginning, path,
               fmt::format("it is for {}, which the repository's systems do not include",
                           claimed(found.system)));
      } else {
        report_.log(fmt::format("{} is for {}: left out", name_of(path), claimed(found.system)));
      }
      return;
    }
    if (!store_.is_derivation(found.derivation)) {
      refuse(beginning, path,
             fmt::format("its drvPath is no derivation of this store: '{}'",
                         claimed(found.derivation)));
      return;
    }
    const auto derivation = store_.derivation(found.derivation);
    if (!derivation || !has_valid_outputs(*derivation)) {
      refuse(beginning, path,
             fmt::format("{} is {}", found.derivation,
                         derivation ? "malformed" : "not in the store, or malformed"));
      return;
    }
    protocol::Target* const target = add(beginning, path);
    if (target == nullptr) return;
    target->result = protocol::TargetResult::pending;
    target->derivation = found.derivation;
    count_bytes(found.derivation.size());
    for (const Derivation::Output& output : derivation->outputs) {
      count_bytes(output.name.size() + output.path.size());
      target->outputs.push_back({output.name, output.path, 0});
    }
    if (found.kind == Found::Kind::empty_home) {
      report_.warn(fmt::format(
          "{} is the same as an empty home: set home_config to a file of the repository that turns "
          "its options on",
          target->name));
    }
  }

  bool is_for_another_system(const nix::AttributePath& path, const std::string& system) const {
    const bool is_configuration =
        is_flake() && path.size() == 2 &&
        (path[0] == "nixosConfigurations" || path[0] == "homeConfigurations");
    const auto& systems = source_.systems;
    return is_configuration && std::find(systems.begin(), systems.end(), system) == systems.end();
  }

  bool has_valid_outputs(const Derivation& derivation) const {
    return !derivation.outputs.empty() &&
           std::all_of(derivation.outputs.begin(), derivation.outputs.end(),
                       [this](const Derivation::Output& output) {
                         return is_output_name(output.name) &&
                                (output.path.empty() || store_.is_store_path(output.path));
                       });
  }

  static std::string claimed(const std::string& text) {
    return terminal::printable(text, longest_claim);
  }

  void fail(std::size_t beginning, const nix::AttributePath& path, const Exit& exit) {
    protocol::Target* const target = add(beginning, path);
    if (target == nullptr) return;
    target->result = protocol::TargetResult::evaluation_failed;
    target->error = exit.ok() ? "Nix's answer cannot be read" : reason_for(exit);
    target->log_tail = last_lines_of(exit.error);
    report_.log(fmt::format("{}: evaluation failed", target->name));
    for (const std::string& line : target->log_tail)
      report_.log("  " + line);
  }

  void refuse(std::size_t beginning, const nix::AttributePath& path, std::string_view reason) {
    protocol::Target* const target = add(beginning, path);
    if (target == nullptr) return;
    target->result = protocol::TargetResult::evaluation_failed;
    target->error = terminal::printable(reason, longest_reason);
    report_.log(fmt::format("{}: evaluation failed: {}", target->name, target->error));
  }

  // A target requested by name must not end as a success without outputs.
  void refuse_empty_beginnings() {
    std::vector<bool> has_targets(beginnings_.size());
    for (const Item& item : items_)
      has_targets[item.beginning] = true;
    for (std::size_t i = 0; i < beginnings_.size(); ++i) {
      if (beginnings_[i].kind != Root::Kind::wanted || has_targets[i]) continue;
      refuse(
          i, beginnings_[i].path,
          fmt::format("there is nothing in it to build for {}", fmt::join(source_.systems, ", ")));
    }
  }

  // In search order; members of a set by name.
  std::vector<protocol::Target> sorted_targets() {
    std::stable_sort(items_.begin(), items_.end(), [](const Item& left, const Item& right) {
      return std::tie(left.beginning, left.path) < std::tie(right.beginning, right.path);
    });
    std::vector<protocol::Target> targets;
    for (Item& item : items_)
      targets.push_back(std::move(item.target));
    return targets;
  }

  void show(std::size_t left) {
    report_.update([&](protocol::BuildStatus& status) {
      status.progress.targets = targets_before_ + items_.size() + left;
      status.progress.evaluated = targets_before_ + items_.size();
    });
  }

  Toolbox& tools_;
  Report& report_;
  const LocalStore& store_;
  const TargetSource& source_;
  const fs::path& root_;
  const std::uint64_t targets_before_;  // of the other lock

  std::vector<Root> beginnings_;
  std::vector<Job> waiting_;
  std::vector<Job> hungry_;  // those that exceeded their share of the memory
  Job listed_;               // the members of sets found by the last processes
  std::vector<Item> items_;
  std::set<std::string> names_;
  std::size_t bytes_ = 0;  // of names, derivations and outputs
  int results_ = 0;
  bool has_failed_ = false;  // if any process failed, groups are made smaller
  bool needs_check_ = false;
  bool is_checked_ = false;
};

}  // namespace

std::vector<protocol::Target> evaluate_targets(Toolbox& tools, Report& report,
                                               const LocalStore& store, const TargetSource& source,
                                               const fs::path& root) {
  return Evaluation(tools, report, store, source, root).run();
}

}  // namespace nixbuild::builder
