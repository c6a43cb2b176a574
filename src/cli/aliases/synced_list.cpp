#include "cli/aliases/synced_list.hpp"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

namespace nixbuild::cli {
namespace {

bool is_loadable(const std::string& name, const std::string& command) {
  return is_alias_name(name) && is_alias_command(command);
}

AliasList parse_aliases(const nlohmann::json& json) {
  AliasList list;
  if (!json.is_object()) return list;
  for (const auto& [name, value] : json.items()) {
    if (!value.is_string()) continue;
    const auto& command = value.get_ref<const std::string&>();
    if (is_loadable(name, command)) list.emplace(name, command);
  }
  return list;
}

bool is_taken(const AliasPlan& plan, const std::string& name) {
  return std::find(plan.taken.begin(), plan.taken.end(), name) != plan.taken.end();
}

bool is_removed(const AliasPlan& plan, const std::string& name) {
  return std::find(plan.remove.begin(), plan.remove.end(), name) != plan.remove.end();
}

}  // namespace

bool SyncedList::is_superseded(const std::string& name, const std::string& command) const {
  const auto entry = superseded.find(name);
  return entry != superseded.end() && entry->second.contains(command);
}

SyncedList parse_synced_list(std::string_view text) {
  SyncedList list;
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return list;
  const auto member = [&](const char* name) {
    const auto at = json.find(name);
    return at == json.end() ? nlohmann::json() : *at;
  };
  list.aliases = parse_aliases(member("aliases"));
  list.superseded = parse_alias_record(member("superseded").dump());
  list.dotfiles = parse_aliases(member("dotfiles"));
  return list;
}

std::string format_synced_list(const SyncedList& list) {
  const nlohmann::json json = {
      {"aliases", list.aliases}, {"superseded", list.superseded}, {"dotfiles", list.dotfiles}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

AliasList effective_aliases(const SyncedList& list, const std::optional<AliasList>& dotfiles) {
  AliasList result = list.aliases;
  for (const auto& [name, command] : dotfiles ? *dotfiles : list.dotfiles) {
    if (!list.is_superseded(name, command)) result[name] = command;
  }
  return result;
}

AliasList take_unloadable(AliasList& aliases) {
  AliasList taken;
  for (auto at = aliases.begin(); at != aliases.end();) {
    const auto next = std::next(at);
    if (!is_loadable(at->first, at->second)) taken.insert(aliases.extract(at));
    at = next;
  }
  return taken;
}

SyncedList next_list(const SyncedList& list, const std::optional<AliasList>& dotfiles,
                     const AliasList& wanted, const AliasPlan& plan) {
  SyncedList next;
  for (const auto& [name, command] : wanted) {
    if (!is_taken(plan, name)) next.aliases[name] = command;
  }
  for (const auto& [name, command] : dotfiles ? *dotfiles : list.dotfiles) {
    const auto own = next.aliases.find(name);
    const bool is_replaced = own != next.aliases.end() && own->second != command;
    if (is_replaced || is_removed(plan, name) || list.is_superseded(name, command)) {
      next.superseded[name] = {command};
    } else if (is_loadable(name, command)) {
      next.dotfiles[name] = command;
    }
  }
  return next;
}

void include_superseded(AliasPlan& plan, const SyncedList& list, const AliasList& dotfiles,
                        const AliasList& wanted) {
  plan.set.clear();
  for (const auto& [name, command] : wanted) {
    const auto there = dotfiles.find(name);
    if (is_taken(plan, name) || (there != dotfiles.end() && there->second == command)) continue;
    plan.set[name] = command;
    plan.before[name].insert(command);
    plan.after[name] = {command};
  }
  std::erase_if(plan.remove, [&](const std::string& name) { return !dotfiles.contains(name); });
  for (const auto& [name, command] : dotfiles) {
    if (wanted.contains(name) || is_removed(plan, name)) continue;
    if (list.is_superseded(name, command)) plan.remove.push_back(name);
  }
}

}  // namespace nixbuild::cli
