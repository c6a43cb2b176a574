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

// A name in a registry may mean different things on different machines.
std::string place_of_locked(const Json& node) {
  return nix::origin_of(FlakeLock::locked_of(node)).place;
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string scheme_of(const Json& reference) {
  std::string url = text_of(reference, "url");
  if (url.starts_with("git+")) url.erase(0, 4);
  const std::size_t end = url.find("://");
  return end == std::string::npos ? std::string() : url.substr(0, end);
}

// Whether both mean the same place with the same protocol.
bool is_same_source(const Json& original, const Json& locked) {
  return text_of(original, "type") == text_of(locked, "type") &&
         scheme_of(original) == scheme_of(locked) &&
         nix::origin_of(original).place == nix::origin_of(locked).place;
}

// Where a registry's name or a redirecting tarball leads. For tarballs only the host is compared,
// as each version has its own URL.
std::string destination_of(const Json& locked) {
  const std::string type = text_of(locked, "type");
  if (type != "tarball" && type != "file") {
    return fmt::format("{} {}", type, nix::origin_of(locked).place);
  }
  const std::string url = text_of(locked, "url");
  const std::size_t host = url.find("://");
  return fmt::format("{} {}", type,
                     host == std::string::npos ? url : url.substr(0, url.find('/', host + 3)));
}

bool may_lead_elsewhere(const Json& original) {
  const std::string type = text_of(original, "type");
  return type == "indirect" || type == "tarball" || type == "file";
}

// Identifies a tree independently of its claimed hash; nothing if no commit is named.
std::optional<std::string> tree_of(const Json& locked) {
  if (text_of(locked, "rev").empty()) return std::nullopt;
  Json identity = Json::object();
  for (const auto& [name, value] : locked.items()) {
    const bool decides = !name.starts_with("__") && name != "narHash" && name != "lastModified" &&
                         name != "revCount" && name != "ref" && name != "dir" && name != "url" &&
                         name != "owner" && name != "repo" && name != "host" && name != "shallow" &&
                         name != "allRefs";
    if (decides) identity[name] = value;
  }
  identity["place"] = nix::origin_of(locked).place;
  return identity.dump(-1, ' ', false, Json::error_handler_t::replace);
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

Json without_private(const Json& locked) {
  Json result = Json::object();
  for (const auto& [name, value] : locked.items()) {
    if (!name.starts_with("__")) result[name] = value;
  }
  return result;
}

Json source_of(const Json& node, const std::string& commit,
               const std::optional<std::string>& branch) {
  // Only the lock shows what a registry's name means.
  const Json& original = FlakeLock::original_of(node);
  const bool is_indirect = original.value("type", "") == "indirect";
  Json source = without_private(is_indirect ? FlakeLock::locked_of(node) : original);
  for (const char* attribute : {"narHash", "lastModified", "revCount", "rev", "dir"})
    source.erase(attribute);
  source["rev"] = commit;
  if (source.value("type", "") == "git") {
    if (branch && !source.contains("ref")) source["ref"] = *branch;
  } else {
    source.erase("ref");  // a forge serves commits by their hash, whatever the branch
  }
  return source;
}

SourceInfo parse_source_info(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  SourceInfo info;
  if (!json.is_object() || !json.contains("narHash") || !json["narHash"].is_string() ||
      !json.contains("lastModified") || !json["lastModified"].is_number_integer()) {
    throw FormatError("Nix does not report narHash and lastModified of a source");
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

std::optional<std::string> lock_problem(const FlakeLock& theirs, const FlakeLock& mine) {
  std::set<std::pair<std::string, std::string>> known_leads;
  std::map<std::string, std::string> known_trees;
  for (const auto& [key, node] : mine.nodes()) {
    const Json& original = FlakeLock::original_of(*node);
    const Json& locked = FlakeLock::locked_of(*node);
    if (may_lead_elsewhere(original)) {
      known_leads.emplace(nix::origin_of(original).place, destination_of(locked));
    }
    const auto tree = tree_of(locked);
    if (tree) known_trees.emplace(*tree, text_of(locked, "narHash"));
  }
  for (const auto& [key, node] : theirs.nodes()) {
    const Json& original = FlakeLock::original_of(*node);
    const Json& locked = FlakeLock::locked_of(*node);
    const std::string place = nix::origin_of(original).place;
    const bool is_known =
        may_lead_elsewhere(original) && known_leads.contains({place, destination_of(locked)});
    if (!is_same_source(original, locked) && !is_known) {
      return fmt::format("its flake.lock has '{}' come from {}, but locks it to {}", key, place,
                         nix::origin_of(locked).place);
    }
    const auto tree = tree_of(locked);
    if (!tree) continue;
    // Two nodes of one lock may contradict each other, just as two locks may.
    const auto [known, is_new] = known_trees.emplace(*tree, text_of(locked, "narHash"));
    if (!is_new && known->second != text_of(locked, "narHash")) {
      return fmt::format("its flake.lock has another narHash for commit {} of {} ('{}') than {}",
                         text_of(locked, "rev").substr(0, 8), nix::origin_of(locked).place, key,
                         known->second.empty() ? "none" : known->second);
    }
  }
  return std::nullopt;
}

std::vector<std::string> follow_build(FlakeLock& lock, const BuiltInput& input, Json locked,
                                      const ServerBuild& build, const LockShared& lock_shared,
                                      std::set<std::string>& settled) {
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
      notes.push_back(fmt::format("{}: has another origin than the one that {} was built with",
                                  name, input.repository));
    } else if (auto checked = lock_shared(name, mine, wanted)) {
      lock.take(name, std::move(*checked), *build.lock, FlakeLock::Below::same_input);
      settled.insert(name);
    }
  }
  return notes;
}

std::vector<InputChange> input_changes(const FlakeLock* before, const FlakeLock& after) {
  std::map<std::string, InputChange> changes;
  if (before != nullptr) {
    for (const auto& [name, node] : before->input_tree())
      changes[name].before = version_of(FlakeLock::locked_of(*node));
  }
  for (const auto& [name, node] : after.input_tree())
    changes[name].after = version_of(FlakeLock::locked_of(*node));
  std::vector<InputChange> result;
  for (auto& [name, change] : changes) {
    change.name = name;
    if (change.before != change.after) result.push_back(change);
  }
  return result;
}

}  // namespace nixbuild::cli
