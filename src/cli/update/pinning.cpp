#include "cli/update/pinning.hpp"

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/base/error.hpp"
#include "common/base/time.hpp"

namespace nixbuild::cli {
namespace {

using Json = nlohmann::json;
using nix::FlakeLock;

// Attributes that Nix keeps to itself, such as 2.26's "__final", are not part of a lock.
Json without_private(const Json& locked) {
  Json result = Json::object();
  for (const auto& [name, value] : locked.items()) {
    if (!name.starts_with("__")) result[name] = value;
  }
  return result;
}

// What a name in a registry stands for may differ from machine to machine.
std::string place_of_locked(const Json& node) {
  return nix::origin_of(FlakeLock::locked_of(node)).place;
}

std::string version_of(const Json& locked) {
  if (locked.contains("rev") && locked.at("rev").is_string()) {
    return locked.at("rev").get<std::string>().substr(0, 8);
  }
  if (locked.contains("lastModified") && locked.at("lastModified").is_number_integer()) {
    const std::chrono::seconds seconds(locked.at("lastModified").get<std::int64_t>());
    return format_time(std::chrono::sys_seconds(seconds)).substr(0, 10);
  }
  return "?";
}

}  // namespace

Json source_of(const Json& node, const std::string& commit,
               const std::optional<std::string>& branch) {
  // What a registry stands for is in the lock alone.
  const Json& original = FlakeLock::original_of(node);
  const bool is_indirect = original.value("type", "") == "indirect";
  Json source = without_private(is_indirect ? FlakeLock::locked_of(node) : original);
  for (const char* attribute : {"narHash", "lastModified", "revCount", "rev", "dir"})
    source.erase(attribute);
  source["rev"] = commit;
  if (source.value("type", "") == "git") {
    if (branch && !source.contains("ref")) source["ref"] = *branch;
  } else {
    source.erase("ref");  // a forge has commits by their hash, whatever the branch
  }
  return source;
}

SourceInfo parse_source_info(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  SourceInfo info;
  if (!json.is_object() || !json.contains("narHash") || !json["narHash"].is_string() ||
      !json.contains("lastModified") || !json["lastModified"].is_number_integer()) {
    throw FormatError("Nix does not say of a source what a lock needs: narHash, lastModified");
  }
  info.nar_hash = json["narHash"].get<std::string>();
  info.last_modified = json["lastModified"].get<std::int64_t>();
  if (json.contains("revCount") && json["revCount"].is_number_integer()) {
    info.revision_count = json["revCount"].get<std::int64_t>();
  }
  return info;
}

Json locked_source(const Json& node, Json source, const SourceInfo& info) {
  source["narHash"] = info.nar_hash;
  source["lastModified"] = info.last_modified;
  if (info.revision_count) source["revCount"] = *info.revision_count;
  const Json& original = FlakeLock::original_of(node);
  if (original.contains("dir")) source["dir"] = original.at("dir");
  return source;
}

std::vector<std::string> follow_build(FlakeLock& lock, const BuiltInput& input, Json locked,
                                      const ServerBuild& build, std::set<std::string>& settled) {
  std::vector<std::string> notes;
  const bool is_flake = lock.input(input.name)->value("flake", true);
  settled.insert(input.name);
  if (!is_flake || !build.lock) {
    lock.pin(input.name, std::move(locked));
    return notes;
  }
  lock.take(input.name, std::move(locked), *build.lock, FlakeLock::Below::root);
  for (const std::string& name : lock.inputs()) {
    const Json* theirs = build.lock->input(name);
    if (theirs == nullptr || name == input.name) continue;
    const Json& mine = *lock.input(name);
    const nix::Origin origin = nix::origin_of(FlakeLock::original_of(mine));
    if (origin.is_fixed) continue;
    const bool is_taken = settled.contains(name);
    const Json wanted = without_private(FlakeLock::locked_of(*theirs));
    if (is_taken) {
      if (version_of(FlakeLock::locked_of(mine)) != version_of(wanted)) {
        notes.push_back(
            fmt::format("{}: {} was built with another version of it", name, input.repository));
      }
    } else if (origin != nix::origin_of(FlakeLock::original_of(*theirs)) ||
               place_of_locked(mine) != place_of_locked(*theirs)) {
      notes.push_back(fmt::format("{}: comes from elsewhere than the one {} was built with", name,
                                  input.repository));
    } else {
      lock.take(name, wanted, *build.lock, FlakeLock::Below::same_input);
      settled.insert(name);
    }
  }
  return notes;
}

std::vector<InputChange> input_changes(const FlakeLock* before, const FlakeLock& after) {
  std::map<std::string, InputChange> changes;
  if (before != nullptr) {
    for (const std::string& name : before->inputs()) {
      changes[name].before = version_of(FlakeLock::locked_of(*before->input(name)));
    }
  }
  for (const std::string& name : after.inputs()) {
    changes[name].after = version_of(FlakeLock::locked_of(*after.input(name)));
  }
  std::vector<InputChange> result;
  for (auto& [name, change] : changes) {
    change.name = name;
    if (change.before != change.after) result.push_back(change);
  }
  return result;
}

}  // namespace nixbuild::cli
