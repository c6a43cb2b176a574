// A derivation's file in the store: what it builds from, and where to.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace nixbuild::builder {

struct Derivation {
  struct Output {
    std::string name;
    std::string path;  // empty: not known before it is built
  };
  std::vector<Output> outputs;  // sorted by name
  // Derivations whose outputs it builds from, with the names of these outputs.
  std::map<std::string, std::set<std::string>> inputs;
  std::vector<std::string> sources;  // store paths
  std::string system;
  std::map<std::string, std::string> environment;
};

// From the text of a .drv file: Derive([("out","/nix/store/…","",""),…],…). Nothing if it is not of
// that form. Its strings are whatever the file says; Nix alone checks what it means.
// Source: the Nix manual, "Derivation ATerm format".
std::optional<Derivation> parse_derivation(std::string_view text);

// Whether Nix gives an output such a name: letters, digits and +-._?=.
bool is_output_name(std::string_view text);

}  // namespace nixbuild::builder
