// The Nix expressions that find and evaluate a repository's targets.
//
// Names from the repository or the configuration are data: they are quoted, never part of the
// program. Each expression is a derivation for `nix-instantiate`, whose variable `result` contains
// the result (see evaluation_result.hpp).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/nix/attribute_path.hpp"

namespace nixbuild::builder {

// A reference to the flake in a git clone at one commit, in its directory `dir` if not empty. It is
// locked, so that it can be evaluated purely. Nix must know whether a clone is shallow.
enum class Depth { full, shallow };
std::string git_flake_reference(std::string_view clone, std::string_view commit,
                                std::string_view dir = {}, Depth depth = Depth::full);

// A starting point of the search for derivations.
struct Root {
  enum class Kind {
    group,   // such as packages.x86_64-linux; may be absent
    wanted,  // from the configuration: "hello" is resolved as in `nix build`
    listed,  // a member of a set found earlier
    home,    // not a path: asks about the flake's home modules
  };
  Kind kind = Kind::group;
  nix::AttributePath path;
};

struct Query {
  std::string reference;  // of the flake, locked; if empty, evaluates `default_nix`
  std::string
      default_nix;  // a file: a derivation, or a set or a function without arguments of them
  std::vector<std::string> systems;
  std::vector<Root> roots;
};

// Evaluates all derivations below the roots at once. A value that throws is reported as "alone"; an
// error that Nix cannot catch, such as a missing attribute, fails the whole evaluation.
std::string evaluate_expression(const Query& query);
// Looks only at the roots themselves: evaluates a derivation, and reports the members of a set as
// "listed".
std::string outline_expression(const Query& query);
// Fails if and only if the flake, or default.nix, fails as a whole.
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
