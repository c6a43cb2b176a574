#include "server/builder/targets.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "common/base/error.hpp"
#include "server/builder/interruption.hpp"

namespace nixbuild::builder {
namespace {

using Json = nlohmann::json;

// A large configuration takes some gigabytes to evaluate; this many at once, then.
constexpr std::size_t most_at_once = 4;

struct Evaluated {
  std::string derivation;
  std::string system;
  std::vector<protocol::Output> outputs;
  bool is_empty_home = false;
};

struct Listed {
  AttributePath path;
  std::optional<Evaluated> found;
};

struct Listing {
  std::vector<Listed> targets;
  bool home_modules = false;
  bool home_manager = false;
};

// Throws Json's exceptions: what our own expressions evaluate to is of this form.
Evaluated evaluated_of(const Json& json) {
  Evaluated result;
  json.at("drv").get_to(result.derivation);
  json.at("system").get_to(result.system);
  for (const Json& output : json.at("outputs")) {
    result.outputs.push_back({output.at("name"), output.at("path"), 0});
  }
  result.is_empty_home = json.value("is_empty", false);
  return result;
}

Listing listing_of(const Json& json) {
  Listing listing;
  for (const Json& target : json.at("targets")) {
    Listed listed;
    target.at("path").get_to(listed.path);
    if (!target.at("found").is_null()) listed.found = evaluated_of(target.at("found"));
    listing.targets.push_back(std::move(listed));
  }
  json.at("home_modules").get_to(listing.home_modules);
  json.at("home_manager").get_to(listing.home_manager);
  return listing;
}

class Evaluation {
 public:
  Evaluation(Toolbox& tools, Report& report, const TargetSource& source)
      : tools_(tools),
        report_(report),
        source_(source),
        targets_before_(report.status().progress.targets) {}

  std::vector<protocol::Target> run() {
    const Listing listing = list();
    add_listed(listing);
    if (listing.home_modules) add_home(listing.home_manager);
    evaluate_alone();
    std::vector<protocol::Target> targets;
    for (Item& item : items_) {
      if (!item.skipped) targets.push_back(std::move(item.target));
    }
    return targets;
  }

 private:
  struct Item {
    protocol::Target target;
    std::string expression;  // that evaluates it alone
    bool skipped = false;
    bool is_configuration = false;
  };

  bool is_flake() const { return !source_.reference.empty(); }
  std::string default_nix() const { return (tools_.clone() / "default.nix").string(); }

  Command instantiate(const std::string& expression) const {
    Toolbox::Options options = source_.options;
    if (is_flake()) options.emplace_back("pure-eval", "true");
    return tools_.nix({"nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode",
                       "--expr", expression},
                      options);
  }

  std::string list_expression(bool evaluate) const {
    if (!is_flake()) return default_nix_expression(default_nix(), evaluate);
    return list_targets_expression({source_.reference, source_.systems, source_.wanted, evaluate});
  }

  Listing list() {
    Exit exit = tools_.run(instantiate(list_expression(true)));
    if (!exit.ok()) {
      // One target that is wrong in a way that cannot be caught, such as a missing attribute, ends
      // the whole evaluation. Their names alone do not depend on it.
      if (exit.signal != 0) {
        report_.warn(
            fmt::format("evaluating all targets at once: {}; trying each alone", reason_of(exit)));
      }
      exit = tools_.run_logged(instantiate(list_expression(false)));
      if (!exit.ok()) throw Error(reason_of(exit));
    } else {
      for (const std::string& line : history::last_lines(exit.error, 1000))
        report_.log(line);
    }
    try {
      return listing_of(Json::parse(exit.output));
    } catch (const Json::exception& error) {
      throw Error(fmt::format("what Nix evaluates to cannot be read: {}", error.what()));
    }
  }

  std::string name_of(const AttributePath& path) const {
    AttributePath shown = path;
    if (!is_flake()) shown.insert(shown.begin(), "default");
    std::string name = attribute_name(shown);
    if (!source_.label.empty()) name += fmt::format(" ({})", source_.label);
    return name;
  }

  // What is built of a configuration lies within it.
  static AttributePath built_part(AttributePath path) {
    if (path.size() == 2 && path[0] == "nixosConfigurations") {
      path.insert(path.end(), {"config", "system", "build", "toplevel"});
    } else if (path.size() == 2 && path[0] == "homeConfigurations") {
      path.emplace_back("activationPackage");
    }
    return path;
  }

  void add_listed(const Listing& listing) {
    for (const Listed& listed : listing.targets) {
      Item item;
      item.target.name = name_of(listed.path);
      item.target.result = protocol::TargetResult::pending;
      const AttributePath path = built_part(listed.path);
      item.is_configuration = path.size() != listed.path.size();
      if (listed.found) {
        accept(item, *listed.found);
      } else {
        item.expression = is_flake() ? target_expression(source_.reference, path)
                                     : default_nix_target_expression(default_nix(), path);
      }
      items_.push_back(std::move(item));
    }
  }

  void add_home(bool has_home_manager) {
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
      Item item;
      item.target.name =
          name_of(source_.systems.size() == 1 ? AttributePath{"homeModules"}
                                              : AttributePath{"homeModules", system});
      if (problem.empty()) {
        item.target.result = protocol::TargetResult::pending;
        item.expression =
            home_expression({source_.reference, system, home_manager, source_.home_config});
      } else {
        item.target.result = protocol::TargetResult::evaluation_failed;
        item.target.error = problem;
        report_.log(fmt::format("{}: {}", item.target.name, problem));
      }
      items_.push_back(std::move(item));
    }
  }

  // Pure evaluation takes nothing that may change.
  std::string locked_home_manager() {
    const Exit exit = tools_.run(tools_.nix(
        {"nix", "flake", "metadata", "--json", "--", source_.home_manager}, source_.options));
    const Json json = Json::parse(exit.output, nullptr, false);
    if (!exit.ok() || !json.is_object() || !json.contains("url")) {
      throw Error(fmt::format("home_manager = \"{}\": {}", source_.home_manager, reason_of(exit)));
    }
    return json.at("url").get<std::string>();
  }

  void accept(Item& item, const Evaluated& evaluated) {
    const auto& systems = source_.systems;
    if (item.is_configuration &&
        std::find(systems.begin(), systems.end(), evaluated.system) == systems.end()) {
      report_.log(fmt::format("{} is for {}: left out", item.target.name, evaluated.system));
      item.skipped = true;
      return;
    }
    if (evaluated.is_empty_home) {
      report_.warn(fmt::format(
          "{} is the same as an empty home: set home_config to a file of the repository that turns "
          "its options on",
          item.target.name));
    }
    item.target.derivation = evaluated.derivation;
    item.target.outputs = evaluated.outputs;
  }

  void fail(Item& item, const Exit& exit) {
    item.target.result = protocol::TargetResult::evaluation_failed;
    item.target.error = reason_of(exit);
    item.target.log_tail = history::last_lines(exit.error, history::log_tail_lines);
    report_.log(fmt::format("{}: evaluation failed", item.target.name));
    for (const std::string& line : item.target.log_tail)
      report_.log("  " + line);
  }

  void evaluate_alone() {
    std::vector<std::size_t> waiting;
    std::vector<Command> commands;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (items_[i].expression.empty()) continue;
      waiting.push_back(i);
      commands.push_back(instantiate(items_[i].expression));
    }
    show(waiting.size());
    const std::size_t at_once =
        std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, most_at_once);
    std::size_t left = waiting.size();
    tools_.run_all(std::move(commands), at_once, [&](std::size_t index, const Exit& exit) {
      Item& item = items_[waiting[index]];
      const Json json = Json::parse(exit.output, nullptr, false);
      try {
        if (exit.ok()) {
          accept(item, evaluated_of(json));
        } else {
          fail(item, exit);
        }
      } catch (const Json::exception&) {
        fail(item, exit);
      }
      show(--left);
    });
  }

  void show(std::size_t left) {
    const auto targets = static_cast<std::size_t>(std::count_if(
        items_.begin(), items_.end(), [](const Item& item) { return !item.skipped; }));
    report_.update([&](protocol::BuildStatus& status) {
      status.progress.targets = targets_before_ + targets;
      status.progress.evaluated = targets_before_ + targets - left;
    });
  }

  Toolbox& tools_;
  Report& report_;
  const TargetSource& source_;
  const std::uint64_t targets_before_;  // of another lock
  std::vector<Item> items_;
};

}  // namespace

std::vector<protocol::Target> evaluate_targets(Toolbox& tools, Report& report,
                                               const TargetSource& source) {
  return Evaluation(tools, report, source).run();
}

}  // namespace nixbuild::builder
