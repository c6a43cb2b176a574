// Parses Nix's results for the expressions of nix_expression.hpp.
//
// A result is the variable `result` of a derivation that is never built. It refers to every
// evaluated derivation, so a GC root for it keeps them all, and Nix makes that root while it still
// protects them. It is a sequence of netstrings, one per record; a record is itself a sequence of
// netstrings. Attribute names may contain any bytes except NUL, which JSON cannot express.
// Source: https://cr.yp.to/proto/netstrings.txt, without the comma.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/nix/attribute_path.hpp"

namespace nixbuild::builder {

// One record; which fields are set depends on its kind.
struct Found {
  enum class Kind {
    derivation,  // `derivation`, `system`
    empty_home,  // the same, for a home configuration equal to one without modules
    alone,       // must be evaluated separately: it may fail, or is large
    listed,      // a member of a set, not evaluated yet
    refused,     // cannot be built: `reason`
    ignored,     // cannot be built, as is usual for values like this
    home,        // about the flake: `has_home_modules`, `has_home_manager`
  };
  Kind kind = Kind::refused;
  std::size_t root = 0;  // index of the query's root below which it was found
  nix::AttributePath path;
  std::string derivation;  // as given by the repository, not checked
  std::string system;      // the same
  std::string reason;
  bool has_home_modules = false;
  bool has_home_manager = false;
};

// Returns nothing if `text` is malformed.
std::optional<std::vector<Found>> parse_evaluation_result(std::string_view text);

// Splits a sequence of netstrings. Returns nothing if `text` is malformed.
std::optional<std::vector<std::string_view>> split_netstrings(std::string_view text);

}  // namespace nixbuild::builder
