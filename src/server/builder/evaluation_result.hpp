// What Nix answers to the expressions of nix_expression.hpp.
//
// The answer is the variable `result` of a derivation that is never built: it refers to every
// derivation that was evaluated, so a GC root for it keeps them all, and Nix makes that root while
// it still protects them. It is a sequence of netstrings, a record each; a record is a sequence of
// netstrings, too. Attribute names may hold any bytes but NUL, which JSON cannot express.
// Source: https://cr.yp.to/proto/netstrings.txt, without the comma.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/builder/attribute_path.hpp"

namespace nixbuild::builder {

// One record; which fields are set depends on its kind.
struct Found {
  enum class Kind {
    derivation,  // `derivation`, `system`
    empty_home,  // the same, of a home configuration that is equal to one without modules
    alone,       // must be evaluated by itself: it may fail, or is large
    listed,      // a member of a set, not looked at yet
    refused,     // nothing that can be built: `reason`
    ignored,     // the same, where such a thing is usual
    home,        // about the flake: `has_home_modules`, `has_home_manager`
  };
  Kind kind = Kind::refused;
  std::size_t root = 0;  // index of the query's root below which it was found
  AttributePath path;
  std::string derivation;  // as the repository says, not checked
  std::string system;      // the same
  std::string reason;
  bool has_home_modules = false;
  bool has_home_manager = false;
};

// Nothing if `text` is not of this form.
std::optional<std::vector<Found>> parse_evaluation_result(std::string_view text);

// The strings of a sequence of netstrings. Nothing if `text` is not one.
std::optional<std::vector<std::string_view>> split_netstrings(std::string_view text);

}  // namespace nixbuild::builder
