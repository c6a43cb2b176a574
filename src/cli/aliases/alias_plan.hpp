// Which of an account's aliases are to be set, and which to be removed.
//
// What has been set is recorded, with the values that it was given, so that an alias of another's
// is told from one of ours: ours has a value that the record has.
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

// As JSON: {"bt": ["nixbuild trigger"]}. Text that is not of this form is an empty record.
AliasRecord parse_alias_record(std::string_view text);
std::string format_alias_record(const AliasRecord& record);

// What `atuin dotfiles alias list` prints: NAME=COMMAND, one a line.
AliasList parse_alias_listing(std::string_view text);

enum class Others { keep, replace };

struct AliasPlan {
  AliasList set;
  std::vector<std::string> remove;
  std::vector<std::string> taken;  // wanted names that are another's aliases, which stay

  // What to record before the first change: whenever it is broken off, what was changed until then
  // is known to be ours.
  AliasRecord before;
  // What to record after the last one.
  AliasRecord after;
};

AliasPlan plan_aliases(const AliasList& wanted, const AliasList& present, const AliasRecord& record,
                       Others others);

}  // namespace nixbuild::cli
