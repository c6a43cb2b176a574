#include "cli/update/lock_update.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "cli/update/flake_copy.hpp"
#include "common/base/error.hpp"
#include "common/nix/error_reason.hpp"
#include "common/nix/flake_lock.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

using nix::FlakeLock;
using nix::reason_of;

// Prints the facts about a source that a lock needs. The argument is passed as JSON, so that none
// of it becomes part of an expression.
constexpr const char* source_expression =
    "{ input }: let source = builtins.fetchTree (builtins.fromJSON input); in "
    "{ inherit (source) narHash lastModified; revCount = source.revCount or null; }";

// What Nix reports about a source that it fetches, or why it cannot be fetched.
struct Fetched {
  std::optional<SourceInfo> info;
  std::string trouble;
};

Fetched fetch(const Runner& runner, const nlohmann::json& source) {
  Command command;
  command.arguments = {"nix-instantiate",
                       "--eval",
                       "--strict",
                       "--json",
                       "--option",
                       "experimental-features",
                       "nix-command flakes fetch-tree",
                       "--argstr",
                       "input",
                       source.dump(),
                       "--expr",
                       source_expression};
  const auto options = runner.option_arguments();
  command.arguments.insert(command.arguments.end(), options.begin(), options.end());
  const Exit exit = runner.quiet(std::move(command));
  if (!exit.ok()) return {std::nullopt, reason_of(exit)};
  return {parse_source_info(exit.output), {}};
}

std::string attribute(const nlohmann::json& locked, const char* name) {
  const auto found = locked.find(name);
  return found != locked.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// For LockShared: fetches the source here, as only that shows which tree belongs to a commit.
std::optional<nlohmann::json> lock_shared_input(const Runner& runner, const std::string& name,
                                                const nlohmann::json& mine,
                                                const nlohmann::json& theirs,
                                                std::vector<std::string>& notes) {
  const nlohmann::json& own = FlakeLock::locked_of(mine);
  const std::string commit = attribute(theirs, "rev");
  const std::string hash = attribute(theirs, "narHash");
  if (attribute(own, "rev") == commit && attribute(own, "narHash") == hash) {
    return std::make_optional(own);
  }
  nlohmann::json source = theirs;
  for (const char* name_of_claim : {"narHash", "lastModified", "revCount", "dir"})
    source.erase(name_of_claim);
  if (!commit.empty()) {
    const std::string ref = attribute(theirs, "ref");
    source = source_of(mine, commit, ref.empty() ? std::nullopt : std::optional<std::string>(ref));
  }
  const Fetched fetched = fetch(runner, source);
  if (!fetched.info) {
    notes.push_back(
        fmt::format("{}: cannot fetch what the build had, to check it: {}", name, fetched.trouble));
    return std::nullopt;
  }
  if (fetched.info->nar_hash == hash) return locked_source(mine, std::move(source), *fetched.info);
  if (!commit.empty()) {
    throw net::RefusedError(
        fmt::format("its flake.lock has narHash {} for commit {} of input '{}', which is {}", hash,
                    commit.substr(0, 8), name, fetched.info->nar_hash));
  }
  notes.push_back(fmt::format("{}: has changed since the build", name));
  return std::nullopt;
}

// Locks one input to a build. Returns nothing, or why that was not possible.
std::optional<std::string> follow(const Runner& runner, FlakeLock& lock, const BuiltInput& input,
                                  const ServerBuild& build, std::set<std::string>& settled,
                                  std::vector<std::string>& notes) {
  const nlohmann::json& node = *lock.input(input.name);
  nlohmann::json locked = FlakeLock::locked_of(node);
  if (attribute(locked, "rev") != build.record.commit) {
    nlohmann::json source = source_of(node, build.record.commit, build.record.branch);
    const Fetched fetched = fetch(runner, source);
    if (!fetched.info) return fetched.trouble;
    locked = locked_source(node, std::move(source), *fetched.info);
  }
  const auto lock_shared = [&](const std::string& name, const nlohmann::json& mine,
                               const nlohmann::json& theirs) {
    return lock_shared_input(runner, name, mine, theirs, notes);
  };
  const auto more = follow_build(lock, input, std::move(locked), build, lock_shared, settled);
  notes.insert(notes.end(), more.begin(), more.end());
  return std::nullopt;
}

// The input's description in flake.nix, which no server can change.
std::string source_in_flake(const nlohmann::json& node) {
  const nix::Origin origin = nix::origin_of(FlakeLock::original_of(node));
  return origin.ref ? fmt::format("{}#{}", origin.place, *origin.ref) : origin.place;
}

// Checks that a verified build may be followed for this input. Throws RefusedError if not.
void check_build(const AnsweringServer& server, const BuiltInput& input, const nlohmann::json& node,
                 const ServerBuild& build, const FlakeLock& mine) {
  const protocol::BuildRecord& record = build.record;
  const nix::Origin origin = nix::origin_of(FlakeLock::original_of(node));
  if (!comes_from(node, nix::place_of_url(record.url))) {
    throw net::RefusedError(fmt::format("input '{}' comes from {}, build {} is of {}", input.name,
                                        origin.place, record.build, record.url));
  }
  if (origin.ref && record.branch && *origin.ref != *record.branch) {
    throw net::RefusedError(fmt::format("input '{}' wants branch '{}', build {} is of '{}'",
                                        input.name, *origin.ref, record.build, *record.branch));
  }
  if (!server.allow_older) {
    server.followed.refuse_older(source_in_flake(node), record,
                                 fmt::format("input '{}': ", input.name));
  }
  if (!build.lock) return;
  if (const auto problem = lock_problem(*build.lock, mine)) {
    throw net::RefusedError(
        fmt::format("build {} of {}: {}", record.build, input.repository, *problem));
  }
}

// Returns the inputs that are now locked to a build.
std::set<std::string> follow_builds(const Runner& runner, FlakeLock& lock,
                                    const AnsweringServer& server, UpdatedLock& result) {
  const FlakeLock mine = lock;
  std::set<std::string> settled;
  for (const BuiltInput& input : built_inputs(lock, server.repositories, result.notes)) {
    if (settled.contains(input.name)) continue;
    const auto build = last_success(server.api, input.repository, {}, server.keys);
    if (!build) {
      result.notes.push_back(
          fmt::format("{}: the server has no successful build of it yet", input.name));
      continue;
    }
    const nlohmann::json& node = *mine.input(input.name);
    check_build(server, input, node, *build, mine);
    const std::int64_t number = build->record.build;
    if (const auto trouble = follow(runner, lock, input, *build, settled, result.notes)) {
      result.notes.push_back(fmt::format("{}: the commit of build {} cannot be fetched: {}",
                                         input.name, number, *trouble));
      continue;
    }
    result.followed.push_back(
        fmt::format("{}: build {}, commit {}, signed by {}", input.name, number,
                    std::string_view(build->record.commit).substr(0, 8), build->signer));
    result.builds.push_back({source_in_flake(node), build->record});
  }
  return settled;
}

// Describes in a word what the clone is to the build.
std::string_view described(CloneState state) {
  switch (state) {
    case CloneState::same:
      return "at";
    case CloneState::ahead:
      return "ahead of";
    case CloneState::behind:
      return "behind";
    case CloneState::diverged:
      return "beside";
    case CloneState::unknown:
      break;
  }
  return "without";
}

// Checks that a verified build of the flake itself may be followed. Throws RefusedError if not.
void check_own_build(const AnsweringServer& server, const OwnFlake& own, const std::string& source,
                     const ServerBuild& build, const FlakeLock& mine) {
  const protocol::BuildRecord& record = build.record;
  if (nix::place_of_url(record.url) != own.repository.place) {
    throw net::RefusedError(fmt::format("this flake comes from {}, build {} is of {}",
                                        own.repository.place, record.build, record.url));
  }
  if (!server.allow_older) server.followed.refuse_older(source, record, "");
  if (const auto problem = lock_problem(*build.lock, mine)) {
    throw net::RefusedError(
        fmt::format("build {} of {}: {}", record.build, record.repository, *problem));
  }
}

// Locks each input that the build had too to the same version.
void take_inputs(const Runner& runner, FlakeLock& lock, const ServerBuild& build,
                 UpdatedLock& result) {
  const std::int64_t number = build.record.build;
  for (const std::string& name : lock.inputs()) {
    const nlohmann::json& mine = *lock.input(name);
    const nlohmann::json* theirs = build.lock->input(name);
    if (theirs == nullptr) {
      result.notes.push_back(
          fmt::format("{}: stays as it is: build {} does not have it", name, number));
      continue;
    }
    if (nix::origin_of(FlakeLock::original_of(mine)) !=
        nix::origin_of(FlakeLock::original_of(*theirs))) {
      result.notes.push_back(
          fmt::format("{}: stays as it is: build {} has another origin for it", name, number));
      continue;
    }
    auto checked = lock_shared_input(runner, name, mine,
                                     without_private(FlakeLock::locked_of(*theirs)), result.notes);
    if (checked) lock.take(name, std::move(*checked), *build.lock, FlakeLock::Below::same_input);
  }
}

// Gives the flake the inputs of the newest build of it in which this machine's targets succeeded;
// without one, all stay as they are.
void follow_own_build(const Runner& runner, const fs::path& flake, const FlakeCopy& copy,
                      const AnsweringServer& server, const OwnFlake& own, UpdatedLock& result) {
  const std::string& repository = own.repository.repository;
  const auto build = last_success(server.api, repository, own.targets, server.keys);
  const std::string targets = fmt::format("{}", fmt::join(own.targets, " and "));
  if (!build || !build->lock) {
    result.notes.push_back(fmt::format(
        "the inputs stay as they are: the server builds this flake as {}, and {}", repository,
        build ? fmt::format("build {} had no flake.lock", build->record.build)
              : fmt::format("no build of {} has succeeded yet", targets)));
    return;
  }
  FlakeLock lock = copy.parse();
  // A machine follows its own targets, so another flake or another machine's does not count.
  const std::string source =
      fmt::format("{}#{}", own.repository.place, fmt::join(own.targets, ","));
  check_own_build(server, own, source, *build, lock);
  const protocol::BuildRecord& record = build->record;
  const CloneComparison clone = compare_clone(runner, flake, record.commit);
  if (clone.state == CloneState::same && !clone.is_changed) {
    copy.write(build->lock->text());
  } else {
    take_inputs(runner, lock, *build, result);
    copy.write(lock.text());
    const std::string_view commit = std::string_view(record.commit).substr(0, 8);
    result.notes.push_back(
        clone.state == CloneState::same
            ? fmt::format("flake.nix has changes that build {} did not have", record.build)
        : clone.state == CloneState::unknown
            ? fmt::format("this clone does not have commit {} of build {}; git pull fetches it",
                          commit, record.build)
            : fmt::format("this clone is {} commit {} of build {}", described(clone.state), commit,
                          record.build));
  }
  copy.complete();
  result.followed.push_back(fmt::format("{}: build {}, commit {}, signed by {}", repository,
                                        record.build, std::string_view(record.commit).substr(0, 8),
                                        build->signer));
  result.builds.push_back({source, record});
}

std::set<std::string> follow_server(const Runner& runner, const FlakeCopy& copy,
                                    const AnsweringServer& server, UpdatedLock& result) {
  FlakeLock lock = copy.parse();
  std::set<std::string> settled = follow_builds(runner, lock, server, result);
  copy.write(lock.text());
  copy.complete();

  // Use Nix's result, as that is what will be built.
  const FlakeLock taken = copy.parse();
  for (const std::string& name : settled) {
    const nlohmann::json* node = taken.input(name);
    if (node == nullptr ||
        FlakeLock::locked_of(*node).value("rev", nlohmann::json()) !=
            FlakeLock::locked_of(*lock.input(name)).value("rev", nlohmann::json())) {
      throw Error(
          fmt::format("Nix does not leave input '{}' locked as the server has built it; "
                      "--upstream updates without the server",
                      name));
    }
  }
  return settled;
}

void update_rest(const Runner& runner, const FlakeCopy& copy, const std::set<std::string>& settled,
                 const std::string& silent_host, UpdatedLock& result) {
  std::vector<std::string> rest;
  const FlakeLock lock = copy.parse();
  for (const std::string& name : lock.inputs()) {
    // git allows names that begin with a dash; Nix would read one as an option.
    if (settled.contains(name) || name.starts_with('-')) continue;
    if (is_hosted_by(*lock.input(name), silent_host)) {
      result.notes.push_back(
          fmt::format("{}: stays as it is: {} cannot be reached", name, silent_host));
    } else {
      rest.push_back(name);
    }
  }
  if (rest.empty()) return;
  Command asked;
  asked.arguments = {"nix", "--version"};
  const bool by_name = nix::updates_by_name(runner.quiet(std::move(asked)).output);
  const auto update = [&](const std::vector<std::string>& names) {
    std::vector<std::string> arguments = {"flake", by_name ? "update" : "lock"};
    for (const std::string& name : names) {
      if (!by_name) arguments.emplace_back("--update-input");
      arguments.push_back(name);
    }
    return runner.nix(std::move(arguments), copy.path());
  };
  if (update(rest).ok()) return;
  // An unavailable input must not hold back the others.
  for (const std::string& name : rest) {
    const Exit exit = update({name});
    if (!exit.ok()) {
      result.notes.push_back(fmt::format("{}: stays as it is: {}", name, reason_of(exit)));
    }
  }
}

}  // namespace

UpdatedLock update_lock(const Runner& runner, const fs::path& flake, const AnsweringServer* server,
                        const std::optional<OwnFlake>& own, const std::string& silent_host) {
  const FlakeCopy copy(runner, flake);
  UpdatedLock result;
  result.before = copy.before();
  copy.complete();
  if (!copy.has_lock()) return result;  // a flake without inputs
  try {
    if (server != nullptr && own) {
      follow_own_build(runner, flake, copy, *server, *own, result);
    } else {
      std::set<std::string> settled;
      if (server != nullptr) settled = follow_server(runner, copy, *server, result);
      update_rest(runner, copy, settled, silent_host, result);
    }
  } catch (const net::RefusedError& error) {
    throw net::RefusedError(
        fmt::format(
            "the server is not followed: {}. Nothing was changed; --upstream updates without "
            "the server",
            error.what()),
        error.status());
  }
  result.after = copy.read();
  std::optional<FlakeLock> before;
  if (result.before) before = FlakeLock::parse(*result.before);
  result.changes = input_changes(before ? &*before : nullptr, FlakeLock::parse(result.after));
  return result;
}

}  // namespace nixbuild::cli
