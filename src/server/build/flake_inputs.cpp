#include "server/build/flake_inputs.hpp"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <vector>

#include "common/base/error.hpp"
#include "common/base/files.hpp"

namespace nixbuild::build {
namespace {

// The names of the flake's own inputs, as its lock has them; none where it makes no sense.
std::vector<std::string> locked_inputs(const std::optional<std::string>& lock) {
  std::vector<std::string> names;
  if (!lock) return names;
  const auto json = nlohmann::json::parse(*lock, nullptr, false);
  if (!json.is_object()) return names;
  const auto root = json.value("root", "root");
  const auto inputs = nlohmann::json::json_pointer("/nodes") / root / "inputs";
  if (!json.contains(inputs) || !json.at(inputs).is_object()) return names;
  for (const auto& [name, node] : json.at(inputs).items()) {
    // One that follows another is a list.
    if (node.is_string()) names.push_back(name);
  }
  return names;
}

std::vector<std::string> update_arguments(bool by_name, const std::string& input) {
  if (by_name) return {"nix", "flake", "update", input};
  return {"nix", "flake", "lock", "--update-input", input};
}

}  // namespace

std::optional<std::string> read_lock(const Toolbox& tools) {
  return read_file(tools.clone() / "flake.lock");
}

bool updates_by_name(std::string_view nix_version) {
  nix_version = nix_version.substr(0, nix_version.find('\n'));
  nix_version.remove_prefix(nix_version.rfind(' ') + 1);
  unsigned major = 0;
  unsigned minor = 0;
  const char* end = nix_version.data() + nix_version.size();
  const auto [dot, error] = std::from_chars(nix_version.data(), end, major);
  if (error != std::errc()) return true;
  if (dot != end && *dot == '.') std::from_chars(dot + 1, end, minor);
  return major > 2 || (major == 2 && minor >= 19);
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
  const bool by_name = updates_by_name(version.output);
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

}  // namespace nixbuild::build
