// The options of `aliases`.
#pragma once

#include <string>
#include <vector>

namespace nixbuild::config {

class Settings;

struct AliasOptions {
  std::vector<std::string> extra;    // NAME=COMMAND, adds to or replaces the built-in ones
  std::vector<std::string> without;  // names of built-in ones to leave out
};

// Adds the table [aliases], bound to `options`.
void add_alias_settings(Settings& settings, AliasOptions& options);

}  // namespace nixbuild::config
