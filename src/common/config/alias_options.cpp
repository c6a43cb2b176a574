#include "common/config/alias_options.hpp"

#include "common/config/setting.hpp"

namespace nixbuild::config {

void add_alias_settings(Settings& settings, AliasOptions& options) {
  settings.table("aliases")
      .add("extra", options.extra, "NAME=COMMAND",
           "Add this alias, or replace the built-in alias of that name")
      .add("without", options.without, "NAME", "Leave out this built-in alias");
}

}  // namespace nixbuild::config
