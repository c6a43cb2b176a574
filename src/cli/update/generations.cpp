#include "cli/update/generations.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include "cli/progress_view.hpp"
#include "cli/table.hpp"
#include "common/base/error.hpp"
#include "common/base/terminal.hpp"
#include "common/config/load.hpp"
#include "common/nix/error_reason.hpp"
#include "common/nix/store_path.hpp"

namespace nixbuild::cli {
namespace fs = std::filesystem;
namespace {

// Outputs other than "out", whose names follow the version.
constexpr std::array<std::string_view, 12> outputs = {"bin",    "data", "debug",  "dev",
                                                      "devdoc", "dist", "doc",    "info",
                                                      "lib",    "man",  "static", "terminfo"};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string_view without_output(std::string_view text) {
  const std::size_t dash = text.rfind('-');
  if (dash == std::string_view::npos) return text;
  const bool is_output =
      std::find(outputs.begin(), outputs.end(), text.substr(dash + 1)) != outputs.end();
  return is_output ? text.substr(0, dash) : text;
}

// Where Nix since 2.14, and home-manager before, keep a user's profiles; empty if HOME is not set.
fs::path profiles_directory() {
  if (const auto xdg = config::process_environment("XDG_STATE_HOME")) {
    return fs::path(*xdg) / "nix/profiles";
  }
  if (const auto home = config::process_environment("HOME")) {
    return fs::path(*home) / ".local/state/nix/profiles";
  }
  return {};
}

std::string versions_of(const std::set<std::string>& versions) {
  std::vector<std::string> shown;
  for (const std::string& version : versions)
    shown.push_back(version.empty() ? "(none)" : terminal::printable(version));
  return fmt::format("{}", fmt::join(shown, ", "));
}

std::string signed_bytes(std::uint64_t before, std::uint64_t after) {
  return after < before ? "-" + format_bytes(before - after) : "+" + format_bytes(after - before);
}

// The name of the store path `path` without its hash; nothing if it is not a store path.
std::optional<nix::StorePath> store_path_of(std::string_view path) {
  path.remove_prefix(path.rfind('/') + 1);  // npos + 1 is 0
  return nix::StorePath::parse(path);
}

}  // namespace

PackageName split_package_name(std::string_view text) {
  for (std::size_t dash = text.find('-'); dash != std::string_view::npos;
       dash = text.find('-', dash + 1)) {
    if (dash + 1 < text.size() && is_digit(text[dash + 1])) {
      return {std::string(text.substr(0, dash)),
              std::string(without_output(text.substr(dash + 1)))};
    }
  }
  return {std::string(text), ""};
}

Closure parse_closure(std::string_view text) {
  Closure closure;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto path = store_path_of(line);
    if (!path || !closure.paths.insert(path->base_name()).second) continue;
    const PackageName package = split_package_name(path->name());
    closure.packages[package.name].insert(package.version);
  }
  return closure;
}

ClosureChanges compare(const Closure& before, const Closure& after) {
  ClosureChanges changes;
  for (const auto& [name, versions] : after.packages) {
    const auto former = before.packages.find(name);
    if (former == before.packages.end()) {
      changes.added.push_back({name, {}, versions});
    } else if (former->second != versions) {
      changes.changed.push_back({name, former->second, versions});
    }
  }
  for (const auto& [name, versions] : before.packages) {
    if (!after.packages.contains(name)) changes.removed.push_back({name, versions, {}});
  }
  for (const std::string& path : after.paths) {
    if (before.paths.contains(path)) continue;
    const PackageName package = split_package_name(store_path_of(path)->name());
    const auto former = before.packages.find(package.name);
    const bool is_same =
        former != before.packages.end() && former->second == after.packages.at(package.name);
    if (is_same) ++changes.rebuilt;
  }
  return changes;
}

std::string render(const ClosureChanges& changes, const Closure& before, const Closure& after,
                   std::size_t most_columns) {
  Table table({"", "package", "version"});
  for (const PackageChange& change : changes.changed) {
    table.add({"changed", terminal::printable(change.name),
               fmt::format("{} → {}", versions_of(change.before), versions_of(change.after))});
  }
  for (const PackageChange& change : changes.added)
    table.add({"added", terminal::printable(change.name), versions_of(change.after)});
  for (const PackageChange& change : changes.removed)
    table.add({"removed", terminal::printable(change.name), versions_of(change.before)});
  std::string out;
  if (!changes.changed.empty() || !changes.added.empty() || !changes.removed.empty()) {
    out = table.render(most_columns);
  }
  if (changes.rebuilt > 0)
    out += fmt::format("{} paths rebuilt at the same version\n", changes.rebuilt);
  return out + fmt::format("closure {} → {} ({}), {} → {} paths\n", format_bytes(before.size),
                           format_bytes(after.size), signed_bytes(before.size, after.size),
                           before.paths.size(), after.paths.size());
}

std::optional<fs::path> current_generation(ConfigurationKind kind, const std::string& user) {
  const fs::path state = config::process_environment("NIX_STATE_DIR").value_or("/nix/var/nix");
  std::vector<fs::path> profiles;
  if (kind == ConfigurationKind::nixos) {
    profiles = {state / "profiles/system"};
  } else {
    if (const fs::path directory = profiles_directory(); !directory.empty()) {
      profiles.push_back(directory / "home-manager");
    }
    profiles.push_back(state / "profiles/per-user" / user / "home-manager");
  }
  for (const fs::path& profile : profiles) {
    std::error_code error;
    fs::path path = fs::canonical(profile, error);
    if (!error) return path;
  }
  return std::nullopt;
}

std::vector<fs::path> profiles_in_home() {
  return profiles_in(profiles_directory());
}

std::vector<fs::path> profiles_in(const fs::path& directory) {
  std::vector<fs::path> profiles;
  std::error_code error;
  if (directory.empty()) return profiles;
  for (fs::directory_iterator entries(directory, error);
       !error && entries != fs::directory_iterator(); entries.increment(error)) {
    // A profile NAME is a link to one of its generations, NAME-N-link.
    const fs::path target = fs::read_symlink(entries->path(), error);
    const std::string name = entries->path().filename().string();
    const std::string generation = target.filename().string();
    if (!error && generation.starts_with(name + "-") && generation.ends_with("-link")) {
      profiles.push_back(entries->path());
    }
    error.clear();
  }
  std::sort(profiles.begin(), profiles.end());
  return profiles;
}

Closure closure_of(const Runner& runner, const fs::path& store_path) {
  Command query;
  query.arguments = {"nix-store", "--query", "--requisites", store_path.string()};
  const Exit paths = runner.quiet(std::move(query));
  if (!paths.ok()) {
    throw Error(fmt::format("the closure of {}: {}", store_path.string(), nix::reason_of(paths)));
  }
  Closure closure = parse_closure(paths.output);
  const Exit size = runner.nix({"path-info", "--closure-size", store_path.string()});
  if (!size.ok()) {
    throw Error(
        fmt::format("the closure size of {}: {}", store_path.string(), nix::reason_of(size)));
  }
  // "/nix/store/…-name   123456"
  const std::size_t digit = size.output.find_last_of("0123456789");
  const std::size_t begin = size.output.find_last_not_of("0123456789", digit) + 1;
  if (digit != std::string::npos) {
    std::from_chars(size.output.data() + begin, size.output.data() + digit + 1, closure.size);
  }
  return closure;
}

}  // namespace nixbuild::cli
