// The list of aliases in Atuin's key-value store, for every Atuin that sets none in its dotfiles
// any more (18.23), and what it makes together with the aliases that the dotfiles still have.
//
// An older Atuin on another machine still sets aliases in its dotfiles, and a newer one lists them.
// So a shell gets both: of one name the dotfiles' command, as a person set it there, unless this
// list has superseded that very command.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cli/aliases/alias_list.hpp"
#include "cli/aliases/alias_plan.hpp"

namespace nixbuild::cli {

struct SyncedList {
  AliasList aliases;       // that `aliases --sync` set
  AliasRecord superseded;  // commands that the dotfiles have and that no longer count
  AliasList dotfiles;      // the others that they had at the last --sync

  bool operator==(const SyncedList&) const = default;
  bool is_superseded(const std::string& name, const std::string& command) const;
};

// As JSON. Text that is not of this form is an empty list. The text is a synced one, so whatever
// is_alias_name and is_alias_command refuse is dropped.
SyncedList parse_synced_list(std::string_view text);
std::string format_synced_list(const SyncedList& list);

// What a shell is to have. `dotfiles` is what Atuin lists, nothing if it cannot list any: then they
// are as they were at the last --sync.
AliasList effective_aliases(const SyncedList& list, const std::optional<AliasList>& dotfiles);

// Takes out those of the dotfiles that is_alias_name or is_alias_command refuses: no shell is to
// load them.
AliasList take_unloadable(AliasList& aliases);

// The list once `plan` is carried out, which was made for `wanted` and the effective aliases.
SyncedList next_list(const SyncedList& list, const std::optional<AliasList>& dotfiles,
                     const AliasList& wanted, const AliasPlan& plan);

// `plan` for an Atuin that sets its dotfiles: what in them the list has superseded is brought in
// line with it, too.
void include_superseded(AliasPlan& plan, const SyncedList& list, const AliasList& dotfiles,
                        const AliasList& wanted);

}  // namespace nixbuild::cli
