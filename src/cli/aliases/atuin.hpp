// The commands of Atuin that aliases need.
//
// Tested with Atuin 18.6 and 18.23:
// - Without [dotfiles] enabled = true, 18.6's alias commands change and print nothing, report
//   that on standard error and exit 0, so we read back what was set. 18.23 only has `alias list`,
//   and its `atuin init` loads no aliases.
// - `atuin kv` is synced between both versions, to every machine of the account; the last change of
//   a key wins. 18.23 drops values longer than 36 KB on every machine, without an error. Atuin's
//   daemon downloads them, but they can be read only after `kv rebuild`.
// - Any command creates a key if there is none, except that `alias list` of 18.23 fails. Records
//   encrypted with such a key stop 18.6 from syncing on every machine of the account.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/aliases/alias_plan.hpp"
#include "cli/aliases/synced_list.hpp"

namespace nixbuild::cli {

// Where this version of Atuin can set aliases.
enum class AliasStore { dotfiles, key_value };

class Atuin {
 public:
  // Throws Error if there is no `atuin` in PATH.
  Atuin();
  // The path of `atuin`, if it is in PATH.
  static std::optional<std::string> find();

  // Detected from its commands. Throws Error if it cannot set aliases at all.
  AliasStore store() const;
  // Throws Error, with what to do, if Atuin has no key and would create one that is not the
  // account's.
  void require_key(AliasStore store) const;
  // True also if it does not report where the key is.
  bool has_key() const;
  bool is_logged_in() const;

  // Atuin's own aliases. Nothing if it lists none: its dotfiles are not enabled, or it has none any
  // more.
  std::optional<AliasList> dotfiles() const;
  // Each throws Error if Atuin reports a failure.
  void set(const std::string& name, const std::string& command) const;
  void remove(const std::string& name) const;

  // Nothing if no list was ever set.
  std::optional<SyncedList> list() const;
  void set_list(const SyncedList& list) const;
  // Those of both, as shells are to have them.
  AliasList aliases() const;
  AliasRecord record() const;
  void set_record(const AliasRecord& record) const;

  // Nothing, or why the sync failed and what to do about it. Throws Error if this machine's key is
  // not the account's: then nothing may be set.
  std::optional<std::string> sync() const;
  // Updates the key-value store with what was synced, which Atuin's daemon does not do by itself.
  void read_synced() const;
  // Whether it is configured to sync by itself, as far as it reports that.
  bool syncs_by_itself() const;

 private:
  std::string run(std::vector<std::string> arguments) const;
  std::string value(const char* key) const;
  void set_value(const char* key, const std::string& text) const;

  std::string program_;
};

}  // namespace nixbuild::cli
