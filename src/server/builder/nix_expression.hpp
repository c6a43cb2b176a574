// The Nix expressions by which a repository's targets are found and evaluated.
//
// Names that come from the repository or the configuration are data: they are quoted, never part of
// the program. Each expression is a derivation for `nix-instantiate`, whose variable `result` is
// the answer (see evaluation_result.hpp).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/builder/attribute_path.hpp"

namespace nixbuild::builder {

// The flake in a git clone at one commit, in its directory `dir` if that is not empty. It is
// locked, so that it can be evaluated purely. Of a shallow clone, Nix has to be told.
enum class Depth { full, shallow };
std::string git_flake_reference(std::string_view clone, std::string_view commit,
                                std::string_view dir = {}, Depth depth = Depth::full);

// Where the search for derivations begins.
struct Root {
  enum class Kind {
    group,   // such as packages.x86_64-linux: may be absent
    wanted,  // named by the configuration: "hello" means what it means to `nix build`
    listed,  // a member of a set that was found before
    home,    // no place: asks about the flake's home modules
  };
  Kind kind = Kind::group;
  AttributePath path;
};

struct Query {
  std::string reference;  // of the flake, locked; empty: `default_nix` is evaluated
  std::string
      default_nix;  // a file: a derivation, or a set or a function without arguments of them
  std::vector<std::string> systems;
  std::vector<Root> roots;
};

// Evaluates all derivations below the roots in one go. What throws is "alone"; an error that Nix
// cannot catch, such as a missing attribute, fails the whole.
std::string evaluate_expression(const Query& query);
// Looks at the roots alone, at nothing in them: a derivation is evaluated, of a set, its members
// are "listed".
std::string outline_expression(const Query& query);
// Fails exactly if the flake, or default.nix, fails as a whole.
std::string check_expression(const Query& query);

struct HomeQuery {
  std::string reference;
  std::string system;
  std::string home_manager;  // a locked flake reference; empty: the flake's input of that name
  std::optional<std::string> home_config;  // a file of the flake
};

// A home-manager configuration of the flake's home modules: one "derivation" or "empty home".
std::string home_expression(const HomeQuery& query);

}  // namespace nixbuild::builder
