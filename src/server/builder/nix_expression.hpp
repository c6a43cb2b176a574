// The Nix expressions by which a repository's targets are found and evaluated.
//
// Names that come from the repository or the configuration are data: they are quoted, never part of
// the program.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::builder {

using AttributePath = std::vector<std::string>;

// "packages.x86_64-linux.hello"; a part that is no identifier is quoted.
std::string attribute_name(const AttributePath& path);

// From "a.b", "a.\"x.y\".c". Throws UsageError.
AttributePath parse_attribute_path(std::string_view text);

// The flake in a git clone at one commit. It is locked, so that it can be evaluated purely.
std::string git_flake_reference(std::string_view clone, std::string_view commit, bool submodules);

struct FlakeQuery {
  std::string reference;
  std::vector<std::string> systems;
  std::vector<AttributePath> targets;  // empty: all that the flake offers
  // Whether targets are evaluated too, all in one go; those for which that fails are only named.
  bool evaluate = true;
};

// Evaluates to { targets = [ { path; found = null or EVALUATED; } ]; home_modules; home_manager; }
// where the last two are booleans: the flake has home modules; has an input home-manager.
std::string list_targets_expression(const FlakeQuery& query);

// Evaluates to EVALUATED: { drv; system; outputs = [ { name; path; } ]; }
std::string target_expression(const std::string& reference, const AttributePath& path);

struct HomeQuery {
  std::string reference;
  std::string system;
  std::string home_manager;  // a locked flake reference; empty: the flake's input of that name
  std::optional<std::string> home_config;  // a file of the flake
};

// A home-manager configuration of the flake's home modules. Evaluates to EVALUATED and `is_empty`:
// whether it is the same as one without them.
std::string home_expression(const HomeQuery& query);

// For a repository without a flake: its default.nix, a derivation or a set of them. Evaluates to
// what list_targets_expression does.
std::string default_nix_expression(std::string_view file, bool evaluate);
std::string default_nix_target_expression(std::string_view file, const AttributePath& path);

}  // namespace nixbuild::builder
