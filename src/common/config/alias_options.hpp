// What `aliases` can be told.
#pragma once

#include <string>
#include <vector>

namespace nixbuild::config {

class Settings;

struct AliasOptions {
  std::vector<std::string> extra;    // NAME=COMMAND, beside the built-in ones or in place of them
  std::vector<std::string> without;  // names of built-in ones that are not wanted
};

// Adds the table [aliases], bound to `options`.
void add_alias_settings(Settings& settings, AliasOptions& options);

}  // namespace nixbuild::config
