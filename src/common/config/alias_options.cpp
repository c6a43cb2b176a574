#include "common/config/alias_options.hpp"

#include "common/config/setting.hpp"

namespace nixbuild::config {

void add_alias_settings(Settings& settings, AliasOptions& options) {
  settings.table("aliases")
      .add("extra", options.extra, "NAME=COMMAND",
           "An alias beside the built-in ones, or in place of the one of that name")
      .add("without", options.without, "NAME", "A built-in alias that is not wanted");
}

}  // namespace nixbuild::config
