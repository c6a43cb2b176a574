#include "server/builder/flake_inputs.hpp"

#include <fmt/format.h>

#include <vector>

#include "common/base/error.hpp"
#include "common/base/files.hpp"
#include "common/nix/flake_lock.hpp"

namespace nixbuild::builder {
namespace {

constexpr std::size_t most_lock_bytes = std::size_t{16} << 20;

// The names of the flake's own inputs, as its lock has them; none where it makes no sense.
std::vector<std::string> locked_inputs(const std::optional<std::string>& lock) {
  try {
    return lock ? nix::FlakeLock::parse(*lock).inputs() : std::vector<std::string>();
  } catch (const FormatError&) {
    return {};
  }
}

std::vector<std::string> update_arguments(bool by_name, const std::string& input) {
  if (by_name) return {"nix", "flake", "update", input};
  return {"nix", "flake", "lock", "--update-input", input};
}

}  // namespace

std::optional<std::string> read_lock(const Toolbox& tools) {
  return read_file_beneath(tools.clone(), "flake.lock", most_lock_bytes);
}

void update_inputs(Toolbox& tools, Report& report) {
  const Exit all = tools.run_logged(tools.nix({"nix", "flake", "update"}));
  if (all.ok()) return;

  const auto names = locked_inputs(read_lock(tools));
  if (names.empty()) {
    throw Error(fmt::format("the inputs cannot be locked: {}", reason_of(all)));
  }
  report.warn("not all inputs can be updated; trying one by one");
  const Exit version = tools.run(tools.nix({"nix", "--version"}));
  const bool by_name = nix::updates_by_name(version.output);
  for (const std::string& name : names) {
    // git lets a name begin with a dash; Nix would take it for an option.
    const Exit one = name.starts_with('-')
                         ? Exit{1, 0, "", "its name begins with '-'", false}
                         : tools.run_logged(tools.nix(update_arguments(by_name, name)));
    if (!one.ok()) {
      report.warn(fmt::format("input '{}' stays as it is locked: {}", name, reason_of(one)));
    }
  }
}

}  // namespace nixbuild::builder
