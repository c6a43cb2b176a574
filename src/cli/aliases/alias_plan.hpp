// Plans which of an account's aliases to set and which to remove.
//
// The aliases that this program sets are recorded with their values. An alias is ours if its value
// is in the record; all others belong to somebody else.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cli/aliases/alias_list.hpp"

namespace nixbuild::cli {

// The commands that an alias was set to, by name. More than one while it is being changed.
using AliasRecord = std::map<std::string, std::set<std::string>>;

// As JSON: {"bt": ["nixbuild trigger"]}. Malformed text is read as an empty record.
AliasRecord parse_alias_record(std::string_view text);
std::string format_alias_record(const AliasRecord& record);

// Parses the output of `atuin dotfiles alias list`: NAME=COMMAND lines.
AliasList parse_alias_listing(std::string_view text);

enum class Others { keep, replace };

struct AliasPlan {
  AliasList set;
  std::vector<std::string> remove;
  std::vector<std::string> taken;  // wanted names that somebody else's aliases use, which stay

  // What to record before the first change: if the run is interrupted, the aliases that it has
  // changed are then known to be ours.
  AliasRecord before;
  // What to record after the last change.
  AliasRecord after;
};

AliasPlan plan_aliases(const AliasList& wanted, const AliasList& present, const AliasRecord& record,
                       Others others);

}  // namespace nixbuild::cli
