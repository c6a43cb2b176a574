#include "server/builder/nix_expression.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "common/base/error.hpp"
#include "common/nix/expression.hpp"

namespace nixbuild::builder {
namespace {

using nix::nix_string;

bool is_identifier(std::string_view text) {
  const auto is_letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  const auto is_inner = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '\'';
  };
  return !text.empty() && (is_letter(text.front()) || text.front() == '_') &&
         std::all_of(text.begin(), text.end(), is_inner);
}

std::string nix_list(const std::vector<std::string>& texts) {
  std::string list = "[";
  for (const std::string& text : texts)
    list += " " + nix_string(text);
  return list + " ]";
}

std::string nix_list_of_paths(const std::vector<AttributePath>& paths) {
  std::string list = "[";
  for (const AttributePath& path : paths)
    list += " " + nix_list(path);
  return list + " ]";
}

// What the expressions share. `describe` is forced whole by whoever uses it.
constexpr std::string_view prelude = R"nix(
let
  at = path: set: builtins.foldl' (value: name: value.${name}) set path;
  has = path: set:
    path == [ ] || (builtins.isAttrs set && set ? ${builtins.head path}
      && has (builtins.tail path) set.${builtins.head path});
  isDerivation = value: builtins.isAttrs value && value.type or "" == "derivation";
  describe = value:
    if isDerivation value then {
      drv = value.drvPath;
      system = value.system or "";
      outputs = map (name: { inherit name; path = value.${name}.outPath; })
        (value.outputs or [ "out" ]);
    } else throw "it is not a derivation";
  # One that throws counts as one, so that its error is told.
  mayBeDerivation = value: let result = builtins.tryEval (isDerivation value); in
    !result.success || result.value;
  whole = value: builtins.deepSeq value value;
  attempt = value: let result = builtins.tryEval (whole value); in
    if result.success then result.value else null;
)nix";

constexpr std::string_view list_targets = R"nix(
  # The names in a set that can be listed; null for one that cannot.
  namesAt = path: let result = builtins.tryEval (
      if has path flake then whole (builtins.attrNames (at path flake)) else [ ]);
    in if result.success then result.value else null;
  under = path: let names = namesAt path; in
    if names == null then [ path ] else map (name: path ++ [ name ]) names;
  perSystem = builtins.concatLists (map
    (kind: builtins.concatLists (map (system: under [ kind system ]) systems))
    [ "packages" "checks" "devShells" ]);
  configurations = builtins.concatLists (map under
    [ [ "nixosConfigurations" ] [ "homeConfigurations" ] ]);
  kindOf = path: builtins.head path;
  isHomeModule = path: builtins.elem (kindOf path) [ "homeModules" "homeManagerModules" ];
  # "hello" means what it means to `nix build`.
  resolve = path:
    if has path flake then [ path ]
    else let
      candidates = builtins.filter (candidate: has candidate flake) (builtins.concatLists (map
        (system: [ ([ "packages" system ] ++ path) ([ "legacyPackages" system ] ++ path) ])
        systems));
    in if candidates == [ ] then [ path ] else [ (builtins.head candidates) ];
  # A set stands for the derivations in it.
  expand = path: let
      result = builtins.tryEval (let value = at path flake; in
        if has path flake && builtins.isAttrs value && !isDerivation value
        then map (name: path ++ [ name ]) (builtins.filter
          (name: mayBeDerivation value.${name}) (builtins.attrNames value))
        else [ path ]);
      isConfiguration = builtins.length path == 2
        && builtins.elem (kindOf path) [ "nixosConfigurations" "homeConfigurations" ];
    in if isConfiguration then [ path ]
      else if builtins.length path == 1
        && builtins.elem (kindOf path) [ "nixosConfigurations" "homeConfigurations" ]
      then under path
      else if result.success then result.value else [ path ];
  chosen = if wanted == [ ] then perSystem ++ configurations
    else builtins.concatLists (map expand (builtins.filter (path: !isHomeModule path)
      (builtins.concatLists (map resolve wanted))));
  # Configurations are large: each is evaluated by a process of its own.
  isLarge = path: builtins.elem (kindOf path) [ "nixosConfigurations" "homeConfigurations" ];
  hasModules = kind: let names = namesAt [ kind ]; in names != null && names != [ ];
in {
  targets = map (path: {
    inherit path;
    found = if evaluate && !isLarge path && has path flake
      then attempt (let value = at path flake; in if isDerivation value then describe value else throw "")
      else null;
  }) chosen;
  home_modules = (hasModules "homeModules" || hasModules "homeManagerModules")
    && (wanted == [ ] || builtins.any isHomeModule wanted);
  home_manager = (flake.inputs or { }) ? home-manager;
}
)nix";

constexpr std::string_view home = R"nix(
  inputs = flake.inputs or { };
  hm = if homeManager == null then inputs.home-manager else builtins.getFlake homeManager;
  nixpkgs = inputs.nixpkgs or (throw "the flake has no input 'nixpkgs'");
  pkgs = nixpkgs.legacyPackages.${system} or (import nixpkgs { inherit system; });
  all = (flake.homeManagerModules or { }) // (flake.homeModules or { });
  modules = if all ? default then [ all.default ] else builtins.attrValues all;
  release = let file = "${hm}/release.json"; in
    if builtins.pathExists file
    then (builtins.fromJSON (builtins.readFile file)).release
    else pkgs.lib.trivial.release or "24.05";
  base = { lib, ... }: {
    home.username = lib.mkDefault "nixbuild";
    home.homeDirectory = lib.mkDefault "/home/nixbuild";
    home.stateVersion = lib.mkDefault release;
  };
  configuration = modules: (hm.lib.homeManagerConfiguration {
    inherit pkgs;
    extraSpecialArgs.inputs = inputs // { self = flake; };
    modules = [ base ] ++ modules;
  }).activationPackage;
  tested = configuration (modules ++ (if homeConfig == null then [ ] else [ "${flake}/${homeConfig}" ]));
in whole (describe tested // { is_empty = tested.drvPath == (configuration [ ]).drvPath; })
)nix";

std::string flake_binding(const std::string& reference) {
  return fmt::format("  flake = builtins.getFlake {};\n", nix_string(reference));
}

std::string default_nix_binding(std::string_view file) {
  return fmt::format(
      "  file = import {};\n  value = if builtins.isFunction file then file {{ }} else file;\n",
      nix_string(file));
}

}  // namespace

std::string attribute_name(const AttributePath& path) {
  std::string name;
  for (const std::string& part : path) {
    if (!name.empty()) name += '.';
    name += is_identifier(part) ? part : nix_string(part);
  }
  return name;
}

AttributePath parse_attribute_path(std::string_view text) {
  const auto fail = [&text] {
    throw UsageError(
        fmt::format("'{}': an attribute path such as packages.x86_64-linux.hello was "
                    "expected",
                    text));
  };
  AttributePath path;
  std::string_view rest = text;
  while (true) {
    std::string part;
    if (rest.starts_with('"')) {
      const std::size_t end = rest.find('"', 1);
      if (end == std::string_view::npos) fail();
      part = rest.substr(1, end - 1);
      rest.remove_prefix(end + 1);
    } else {
      part = rest.substr(0, rest.find('.'));
      rest.remove_prefix(part.size());
    }
    if (part.empty()) fail();
    path.push_back(std::move(part));
    if (rest.empty()) return path;
    if (rest.front() != '.') fail();
    rest.remove_prefix(1);
  }
}

std::string git_flake_reference(std::string_view clone, std::string_view commit, bool submodules) {
  std::string path;
  for (const char c : clone) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '/' || c == '.' || c == '-' ||
        c == '_' || c == '~') {
      path += c;
    } else {
      path += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  return fmt::format("git+file://{}?rev={}{}", path, commit, submodules ? "&submodules=1" : "");
}

std::string list_targets_expression(const FlakeQuery& query) {
  return fmt::format("{}{}  systems = {};\n  wanted = {};\n  evaluate = {};\n{}", prelude,
                     flake_binding(query.reference), nix_list(query.systems),
                     nix_list_of_paths(query.targets), query.evaluate, list_targets);
}

std::string target_expression(const std::string& reference, const AttributePath& path) {
  return fmt::format("{}{}in whole (describe (at {} flake))\n", prelude, flake_binding(reference),
                     nix_list(path));
}

std::string home_expression(const HomeQuery& query) {
  return fmt::format("{}{}  system = {};\n  homeManager = {};\n  homeConfig = {};\n{}", prelude,
                     flake_binding(query.reference), nix_string(query.system),
                     query.home_manager.empty() ? "null" : nix_string(query.home_manager),
                     query.home_config ? nix_string(*query.home_config) : "null", home);
}

std::string default_nix_expression(std::string_view file, bool evaluate) {
  return fmt::format(R"nix({}{}  evaluate = {};
  paths = if isDerivation value then [ [ ] ]
    else map (name: [ name ])
      (builtins.filter (name: mayBeDerivation value.${{name}}) (builtins.attrNames value));
in {{
  targets = map (path: {{
    inherit path;
    found = if evaluate then attempt (describe (at path value)) else null;
  }}) paths;
  home_modules = false;
  home_manager = false;
}}
)nix",
                     prelude, default_nix_binding(file), evaluate);
}

std::string default_nix_target_expression(std::string_view file, const AttributePath& path) {
  return fmt::format("{}{}in whole (describe (at {} value))\n", prelude, default_nix_binding(file),
                     nix_list(path));
}

}  // namespace nixbuild::builder
