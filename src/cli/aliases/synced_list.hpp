// The list of aliases in Atuin's key-value store, for versions of Atuin that no longer set aliases
// in its dotfiles (18.23), and how it is merged with the aliases that the dotfiles still have.
//
// An older Atuin on another machine may still set aliases in its dotfiles, which a newer one lists.
// So a shell gets both. If both define a name, the dotfiles' command wins, because a person set it
// there, unless this list has superseded exactly that command.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cli/aliases/alias_list.hpp"
#include "cli/aliases/alias_plan.hpp"

namespace nixbuild::cli {

struct SyncedList {
  AliasList aliases;       // set by `aliases --sync`
  AliasRecord superseded;  // commands of the dotfiles that no longer count
  AliasList dotfiles;      // the dotfiles' other commands at the last --sync

  bool operator==(const SyncedList&) const = default;
  bool is_superseded(const std::string& name, const std::string& command) const;
};

// As JSON. Malformed text is read as an empty list. The text was synced from elsewhere, so entries
// that is_alias_name or is_alias_command refuse are dropped.
SyncedList parse_synced_list(std::string_view text);
std::string format_synced_list(const SyncedList& list);

// The aliases for a shell. `dotfiles` is what Atuin lists; if it cannot list any, those of the last
// --sync are used.
AliasList effective_aliases(const SyncedList& list, const std::optional<AliasList>& dotfiles);

// Removes the dotfiles' aliases that is_alias_name or is_alias_command refuses, so that no shell
// loads them.
AliasList take_unloadable(AliasList& aliases);

// The list after `plan`, which was made for `wanted` and the effective aliases, is carried out.
SyncedList next_list(const SyncedList& list, const std::optional<AliasList>& dotfiles,
                     const AliasList& wanted, const AliasPlan& plan);

// Extends `plan`, for an Atuin that sets its dotfiles: aliases there that the list has superseded
// are updated too.
void include_superseded(AliasPlan& plan, const SyncedList& list, const AliasList& dotfiles,
                        const AliasList& wanted);

}  // namespace nixbuild::cli
