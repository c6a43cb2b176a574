#include "server/builder/nix_expression.hpp"

#include <fmt/format.h>

#include <cctype>

#include "common/nix/expression.hpp"

namespace nixbuild::builder {
namespace {

using nix::nix_string;

std::string nix_list(const std::vector<std::string>& texts) {
  std::string list = "[";
  for (const std::string& text : texts)
    list += " " + nix_string(text);
  return list + " ]";
}

std::string_view name_of(Root::Kind kind) {
  switch (kind) {
    case Root::Kind::group:
      return "group";
    case Root::Kind::wanted:
      return "wanted";
    case Root::Kind::listed:
      return "listed";
    case Root::Kind::home:
      return "home";
  }
  return "";
}

std::string nix_list_of_roots(const std::vector<Root>& roots) {
  std::string list = "[";
  std::size_t index = 0;
  for (const Root& root : roots) {
    list += fmt::format("\n    {{ index = {}; kind = \"{}\"; path = {}; }}", index++,
                        name_of(root.kind), nix_list(root.path));
  }
  return list + " ]";
}

// Functions that format the result.
constexpr std::string_view prelude = R"nix(let
  netstring = text: "${toString (builtins.stringLength text)}:${text}";
  record = index: kind: first: second: path: netstring (builtins.concatStringsSep ""
    (map netstring ([ kind (toString index) first second ] ++ path)));
  # Refers to the derivations in `records` without building from them.
  answer = records: derivation {
    name = "evaluation"; system = "none"; builder = "none";
    result = builtins.concatStringsSep "" records;
  };
  isDerivation = value: builtins.isAttrs value && value.type or "" == "derivation";
  describe = index: kind: path: value:
    if !builtins.isString value.drvPath then throw "its drvPath is not a string"
    else record index kind (builtins.unsafeDiscardOutputDependency value.drvPath)
      (if builtins.isString (value.system or null) then value.system else "") path;
)nix";

// Requires that `top`, `isFlake`, `systems` and `roots` are bound.
constexpr std::string_view search = R"nix(
  deepest = 16;
  systemNames = builtins.listToAttrs (builtins.concatMap
    (os: map (cpu: { name = "${cpu}-${os}"; value = null; })
      [ "aarch64" "armv5tel" "armv6l" "armv7l" "i686" "loongarch64" "mips64el" "mipsel" "powerpc64"
        "powerpc64le" "riscv32" "riscv64" "s390x" "x86_64" ])
    [ "cygwin" "darwin" "freebsd" "linux" "netbsd" "openbsd" "windows" ]);
  kindOf = path: if isFlake && path != [ ] then builtins.head path else "";
  isConfiguration = path: builtins.length path >= 2
    && builtins.elem (kindOf path) [ "nixosConfigurations" "homeConfigurations" ];
  # What is built of a configuration lies within it.
  builtPart = path:
    if builtins.length path != 2 then path
    else if kindOf path == "nixosConfigurations"
    then path ++ [ "config" "system" "build" "toplevel" ]
    else if kindOf path == "homeConfigurations" then path ++ [ "activationPackage" ]
    else path;

  # { value; }, or { missing; } or, where something on the way is no set, { at; type; }.
  walk = done: rest: value:
    if rest == [ ] then { inherit value; }
    else if !builtins.isAttrs value then { at = done; type = typeName value; }
    else if !(value ? ${builtins.head rest}) then { missing = builtins.head rest; }
    else walk (done ++ [ (builtins.head rest) ]) (builtins.tail rest) value.${builtins.head rest};
  has = path: set:
    path == [ ] || (builtins.isAttrs set && set ? ${builtins.head path}
      && has (builtins.tail path) set.${builtins.head path});
  # "hello" means what it means to `nix build`.
  resolve = root:
    if root.kind != "wanted" || has root.path top then root
    else let
      candidates = builtins.filter (candidate: has candidate top) (builtins.concatMap
        (system: [ ([ "packages" system ] ++ root.path) ([ "legacyPackages" system ] ++ root.path) ])
        systems);
    in if candidates == [ ] then root else root // { path = builtins.head candidates; };

  typeName = value: {
    bool = "a boolean"; float = "a number"; int = "a number"; lambda = "a function";
    list = "a list"; null = "null"; path = "a path"; set = "a set"; string = "a string";
  }.${builtins.typeOf value} or "something else";
  # Whether the members of a set are looked for derivations.
  opens = root: path: value:
    (path == root.path && root.kind != "listed")
    || value.recurseForDerivations or false == true
    || kindOf path == "hydraJobs"
    || (builtins.length path == 2 && builtins.elem (builtins.elemAt path 1) systems
      && builtins.elem (kindOf path) [ "packages" "checks" "devShells" "legacyPackages" ]);
  classify = root: path: value:
    if isDerivation value then "derivation"
    else if builtins.isAttrs value && opens root path value then "set"
    else "other";
  members = value: builtins.filter (name: name != "recurseForDerivations"
    && (!(systemNames ? ${name}) || builtins.elem name systems)) (builtins.attrNames value);
  simple = kind: reason: root: path: record root.index kind reason "" path;
  # Other places hold functions and options, too.
  noDerivation = root: path: value: simple
    (if path == root.path || builtins.elem (kindOf path)
      [ "packages" "checks" "devShells" "nixosConfigurations" "homeConfigurations" ]
      then "refused" else "ignored")
    (if builtins.isAttrs value
      then "it is a set without recurseForDerivations = true, not a derivation"
      else "it is ${typeName value}, not a derivation")
    root path;
  tooDeep = simple "refused" "it is nested too deeply";

  # Everything below a place.
  evaluate = root: path: value: let
      alone = [ (simple "alone" "" root path) ];
      class = builtins.tryEval (classify root path value);
      described = builtins.tryEval (describe root.index "derivation" path value);
    in if isConfiguration path || !class.success then alone
      else if class.value == "derivation"
      then (if described.success then [ described.value ] else alone)
      else if class.value == "other" then [ (noDerivation root path value) ]
      else if builtins.length path >= deepest then [ (tooDeep root path) ]
      else builtins.concatMap (name: evaluate root (path ++ [ name ]) value.${name})
        (members value);
  # What a place is.
  outline = root: path: value:
    if isDerivation value then [ (describe root.index "derivation" path value) ]
    else if classify root path value != "set" then [ (noDerivation root path value) ]
    else if builtins.length path >= deepest then [ (tooDeep root path) ]
    else map (name: simple "listed" "" root (path ++ [ name ])) (members value);

  begin = look: given: let
      root = resolve given;
      place = walk [ ] (if look.whole then root.path else builtPart root.path) top;
    in if place ? value then look.at root root.path place.value
      else if place ? at
      then [ (simple "refused" "it is ${place.type}, not a set" root place.at) ]
      else if root.kind == "group" then [ ]
      else [ (simple "refused" "attribute '${place.missing}' is missing" root root.path) ];
  hasMembers = name: top ? ${name} && builtins.attrNames top.${name} != [ ];
  flag = value: if value then "true" else "false";
  home = root: [ (record root.index "home"
    (flag (hasMembers "homeModules" || hasMembers "homeManagerModules"))
    (flag ((top.inputs or { }) ? home-manager)) [ ]) ];
  start = look: root: if root.kind == "home" then home root else begin look root;
  evaluateRoot = root: let
      result = builtins.tryEval (start { at = evaluate; whole = true; } root);
    in if result.success then result.value else [ (simple "alone" "" root root.path) ];
  outlineRoot = start { at = outline; whole = false; };
)nix";

constexpr std::string_view home_bindings = R"nix(
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
in answer [ (describe 0
  (if tested.drvPath == (configuration [ ]).drvPath then "empty home" else "derivation") [ ] tested) ]
)nix";

std::string flake_binding(const std::string& reference) {
  return fmt::format("  flake = builtins.getFlake {};\n", nix_string(reference));
}

std::string bindings(const Query& query) {
  const bool is_flake = !query.reference.empty();
  std::string text(prelude);
  if (is_flake) {
    text += flake_binding(query.reference) + "  top = flake;\n";
  } else {
    text += fmt::format(
        "  file = import {};\n  top = if builtins.isFunction file then file {{ }} else file;\n",
        nix_string(query.default_nix));
  }
  text += fmt::format("  isFlake = {};\n  systems = {};\n  roots = {};\n", is_flake,
                      nix_list(query.systems), nix_list_of_roots(query.roots));
  return text;
}

}  // namespace

std::string git_flake_reference(std::string_view clone, std::string_view commit,
                                std::string_view dir, Depth depth) {
  const auto escaped = [](std::string_view text) {
    std::string path;
    for (const char c : text) {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '/' || c == '.' || c == '-' ||
          c == '_' || c == '~') {
        path += c;
      } else {
        path += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
      }
    }
    return path;
  };
  std::string reference = fmt::format("git+file://{}?rev={}", escaped(clone), commit);
  if (!dir.empty()) reference += "&dir=" + escaped(dir);
  if (depth == Depth::shallow) reference += "&shallow=1";
  return reference;
}

std::string evaluate_expression(const Query& query) {
  return fmt::format("{}{}in answer (builtins.concatMap evaluateRoot roots)\n", bindings(query),
                     search);
}

std::string outline_expression(const Query& query) {
  return fmt::format("{}{}in answer (builtins.concatMap outlineRoot roots)\n", bindings(query),
                     search);
}

std::string check_expression(const Query& query) {
  return fmt::format("{}in builtins.seq top (answer [ ])\n", bindings(query));
}

std::string home_expression(const HomeQuery& query) {
  return fmt::format("{}{}  system = {};\n  homeManager = {};\n  homeConfig = {};\n{}", prelude,
                     flake_binding(query.reference), nix_string(query.system),
                     query.home_manager.empty() ? "null" : nix_string(query.home_manager),
                     query.home_config ? nix_string(*query.home_config) : "null", home_bindings);
}

}  // namespace nixbuild::builder
