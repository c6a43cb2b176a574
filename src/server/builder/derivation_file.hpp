// A derivation file in the store: its inputs and outputs.
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
    std::string path;  // empty if unknown before it is built
  };
  std::vector<Output> outputs;  // sorted by name
  // The derivations whose outputs it needs, with the names of these outputs.
  std::map<std::string, std::set<std::string>> inputs;
  std::vector<std::string> sources;  // store paths
  std::string system;
  std::map<std::string, std::string> environment;
};

// Parses the text of a .drv file: Derive([("out","/nix/store/…","",""),…],…). Returns nothing if it
// is malformed. Strings are returned unchecked; only Nix checks their meaning.
// Source: the Nix manual, "Derivation ATerm format".
std::optional<Derivation> parse_derivation(std::string_view text);

// Whether Nix allows this output name: letters, digits and +-._?=.
bool is_output_name(std::string_view text);

}  // namespace nixbuild::builder
