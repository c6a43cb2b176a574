#include "cli/aliases/alias_plan.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace nixbuild::cli {
namespace {

bool is_ours(const AliasRecord& record, const std::string& name, const std::string& command) {
  const auto entry = record.find(name);
  return entry != record.end() && entry->second.contains(command);
}

}  // namespace

AliasRecord parse_alias_record(std::string_view text) {
  AliasRecord record;
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return record;
  for (const auto& [name, commands] : json.items()) {
    if (!commands.is_array()) continue;
    for (const auto& command : commands) {
      if (command.is_string()) record[name].insert(command.get<std::string>());
    }
  }
  return record;
}

std::string format_alias_record(const AliasRecord& record) {
  return nlohmann::json(record).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

AliasList parse_alias_listing(std::string_view text) {
  AliasList list;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    const std::size_t equals = line.find('=');
    if (equals != std::string_view::npos) {
      list.emplace(line.substr(0, equals), line.substr(equals + 1));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return list;
}

AliasPlan plan_aliases(const AliasList& wanted, const AliasList& present, const AliasRecord& record,
                       Others others) {
  AliasPlan plan;
  plan.before = record;
  for (const auto& [name, command] : wanted) {
    const auto there = present.find(name);
    if (there != present.end() && there->second == command) {
      // An alias that somebody else set to the same command stays theirs.
      if (is_ours(record, name, command)) plan.after[name] = {command};
      continue;
    }
    if (there != present.end() && !is_ours(record, name, there->second) && others == Others::keep) {
      plan.taken.push_back(name);
      continue;
    }
    plan.set[name] = command;
    plan.before[name].insert(command);
    plan.after[name] = {command};
  }
  for (const auto& [name, commands] : record) {
    const auto there = present.find(name);
    if (wanted.contains(name) || there == present.end()) continue;
    if (commands.contains(there->second)) plan.remove.push_back(name);
  }
  return plan;
}

}  // namespace nixbuild::cli
