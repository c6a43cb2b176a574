// Atuin's own commands, as far as aliases need them.
//
// Tried with Atuin 18.6: without [dotfiles] enabled = true its alias commands change and print
// nothing, say so on standard error and exit 0; so what was set has to be read back. `atuin kv` is
// synced with the aliases, to every machine of the account.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/aliases/alias_plan.hpp"

namespace nixbuild::cli {

class Atuin {
 public:
  // Throws Error where there is no `atuin` in PATH.
  Atuin();

  // Throws UsageError where Atuin's configuration does not turn dotfiles on, Error where this Atuin
  // cannot do them.
  AliasList aliases() const;
  // Each throws Error where Atuin says that it failed.
  void set(const std::string& name, const std::string& command) const;
  void remove(const std::string& name) const;

  AliasRecord record() const;
  void set_record(const AliasRecord& record) const;

  // Nothing, or why it could not be done.
  std::optional<std::string> sync() const;

 private:
  std::string run(std::vector<std::string> arguments) const;

  std::string program_;
};

}  // namespace nixbuild::cli
