// Shows what changed between two generations of a system or a home.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cli/update/configurations.hpp"
#include "cli/update/runner.hpp"

namespace nixbuild::cli {

// The name and version in a store path's name: "firefox-120.0-man" is version 120.0 of firefox. The
// version begins at the first dash that a digit follows, as in builtins.parseDrvName; names of
// additional outputs are removed. The version may be empty.
struct PackageName {
  std::string name;
  std::string version;
  friend auto operator<=>(const PackageName&, const PackageName&) = default;
};
PackageName split_package_name(std::string_view store_path_name);

// Versions by name, and the number of paths.
struct Closure {
  std::map<std::string, std::set<std::string>> packages;
  std::set<std::string> paths;
  std::uint64_t size = 0;  // bytes, of all NARs
};
// From lines of store paths, as `nix-store --query --requisites` prints them.
Closure parse_closure(std::string_view paths);

struct PackageChange {
  std::string name;
  std::set<std::string> before;  // versions; empty: the package was added
  std::set<std::string> after;
};
struct ClosureChanges {
  std::vector<PackageChange> changed;  // packages whose versions changed
  std::vector<PackageChange> added;
  std::vector<PackageChange> removed;
  std::size_t rebuilt = 0;  // new paths in `after` of packages with unchanged versions
};
ClosureChanges compare(const Closure& before, const Closure& after);

// A table for people, with a line about the sizes.
std::string render(const ClosureChanges& changes, const Closure& before, const Closure& after,
                   std::size_t most_columns = static_cast<std::size_t>(-1));

// The store path of the current generation; nothing if there is none yet.
std::optional<std::filesystem::path> current_generation(ConfigurationKind kind,
                                                        const std::string& user);

// Profiles with generations in a directory; may be empty.
std::vector<std::filesystem::path> profiles_in(const std::filesystem::path& directory);
// The same for this user's home, such as home-manager's.
std::vector<std::filesystem::path> profiles_in_home();

// The closure of a path, according to Nix. Throws Error.
Closure closure_of(const Runner& runner, const std::filesystem::path& store_path);

}  // namespace nixbuild::cli
