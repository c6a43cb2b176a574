// The store path to which an output of a content-addressed derivation was realised.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/nix/store_path.hpp"

namespace nixbuild::store {

// A row of table Realisations, of Nix 2.4 to 2.34. The output is named by its id,
// "<hash of the derivation>!<output name>", as in "sha256:1f3a…!out".
struct Realisation {
  std::string id;
  nix::StorePath output;
  std::vector<std::string> signatures;
  // The realisations that it was built with: ids and their outputs.
  std::map<std::string, nix::StorePath> dependent_realisations;

  friend bool operator==(const Realisation&, const Realisation&) = default;
};

// A row of table BuildTraceV3, of Nix 2.35 and later. The output is identified by its derivation's
// store path and its name.
struct BuildTrace {
  nix::StorePath output;
  std::vector<std::string> signatures;

  friend bool operator==(const BuildTrace&, const BuildTrace&) = default;
};

}  // namespace nixbuild::store
