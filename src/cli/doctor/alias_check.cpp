#include "cli/doctor/alias_check.hpp"

#include <fmt/format.h>

#include <string>

#include "cli/aliases/atuin.hpp"
#include "cli/aliases/shell.hpp"
#include "cli/aliases/startup_file.hpp"
#include "common/base/error.hpp"
#include "common/config/load.hpp"

namespace nixbuild::cli {
namespace {

Check of_key_value_store(const Atuin& atuin, Check check) {
  if (atuin.aliases().empty()) {
    check.message = "Atuin has none";
    check.remedy = "nixbuild aliases --sync";
    return check;
  }
  const Shell shell = parse_shell(config::process_environment("SHELL").value_or("bash"));
  if (!loads_synced_aliases(shell)) {
    check.message =
        fmt::format("no startup file of {} loads those that Atuin syncs", name_of(shell));
    check.remedy =
        "nixbuild aliases --install --from-atuin (home-manager: programs.bootstrap.atuin.enable)";
    return check;
  }
  check.state = CheckState::ok;
  check.message = fmt::format("Atuin syncs them, and {} loads them", name_of(shell));
  return check;
}

}  // namespace

std::optional<Check> check_aliases() {
  if (!Atuin::find()) return std::nullopt;
  Check check{"aliases", CheckState::warning, {}, {}};
  try {
    const Atuin atuin;
    const AliasStore store = atuin.store();
    if (!atuin.has_key() || !atuin.is_logged_in()) {
      check.message = "Atuin is not logged in, so it syncs none";
      check.remedy = "atuin login, or atuin register for a new account";
    } else if (store == AliasStore::key_value) {
      return of_key_value_store(atuin, check);
    } else if (!atuin.dotfiles()) {
      check.message = "Atuin syncs none: its dotfiles are not enabled";
      check.remedy = "add to ~/.config/atuin/config.toml:\n[dotfiles]\nenabled = true";
    } else {
      check.state = CheckState::ok;
      check.message = "Atuin syncs and loads them";
    }
  } catch (const Error& error) {
    check.message = error.what();
    check.remedy = "nixbuild aliases --install, for aliases without Atuin";
  }
  return check;
}

}  // namespace nixbuild::cli
