# A stand-in for nixpkgs' lib, with which the flake is evaluated where nixpkgs cannot be had: as much
# of lists, strings, options and the module system as this repository's modules use.
let
  inherit (builtins) attrNames concatMap elem filter foldl' head isAttrs isFunction isList isString
    listToAttrs map;

  lists = rec {
    optional = condition: value: if condition then [ value ] else [ ];
    optionals = condition: values: if condition then values else [ ];
    optionalAttrs = condition: values: if condition then values else { };
    optionalString = condition: text: if condition then text else "";
    unique = foldl' (found: value: if elem value found then found else found ++ [ value ]) [ ];
    inherit (builtins) any all concatMap concatStringsSep foldl' mapAttrs;
  };

  attributes = rec {
    genAttrs = names: make: listToAttrs (map (name: { inherit name; value = make name; }) names);
    getAttrs = names: set: genAttrs names (name: set.${name});
    filterAttrs = keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
    mapAttrsToList = make: set: map (name: make name set.${name}) (attrNames set);
    recursiveUpdate = old: new: old // builtins.mapAttrs
      (name: value:
        if isAttrs value && isAttrs (old.${name} or null) then recursiveUpdate old.${name} value else value)
      new;
  };

  strings = {
    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    removePrefix = prefix: text:
      if strings.hasPrefix prefix text
      then builtins.substring (builtins.stringLength prefix) (-1) text else text;
    escapeShellArg = value: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] (toString value)}'";
  };

  properties = rec {
    mkIf = condition: content: { _type = "if"; inherit condition content; };
    mkMerge = contents: { _type = "merge"; inherit contents; };
    mkOverride = priority: content: { _type = "override"; inherit priority content; };
    mkDefault = mkOverride 1000;
    mkForce = mkOverride 50;
    mkOptionDefault = mkOverride 1500;
    mkAfter = content: content; # the order of lines is not kept
    mkOption = attributes: attributes // { _type = "option"; };
    mkEnableOption = name: mkOption { type = types.bool; default = false; description = "Whether to enable ${name}."; };
    literalExpression = text: { _type = "literalExpression"; inherit text; };
    literalMD = text: { _type = "literalMD"; inherit text; };
  };
  inherit (properties) mkIf mkMerge mkOverride mkOptionDefault;

  isType = type: value: isAttrs value && value._type or "" == type;
  show = path: "`${builtins.concatStringsSep "." path}'";

  # The definitions that hold, as { priority, value }.
  discharge = priority: value:
    if isType "merge" value then concatMap (discharge priority) value.contents
    else if isType "if" value then (if value.condition then discharge priority value.content else [ ])
    else if isType "override" value then discharge value.priority value.content
    else [{ inherit priority value; }];

  strongest = definitions:
    let
      all = concatMap (discharge 100) definitions;
      priority = foldl' (least: one: if one.priority < least then one.priority else least) 9999 all;
    in
    { inherit priority; values = map (one: one.value) (filter (one: one.priority == priority) all); };

  mergeAs = type: path: definitions:
    let inherit (strongest definitions) values; in
    if lists.all type.check values then type.merge path values
    else throw "A definition for option ${show path} is not of type `${type.name}'";

  equal = path: values:
    if lists.all (value: value == head values) values then head values
    else throw "The option ${show path} has conflicting definition values";
  once = path: values:
    if builtins.length values == 1 then head values
    else throw "The option ${show path} is defined multiple times while it's expected to be unique";
  simple = name: check: { inherit name check; merge = equal; };

  types = rec {
    bool = simple "boolean" builtins.isBool;
    int = simple "integer" builtins.isInt;
    str = simple "string" isString;
    package = simple "package" (value: isAttrs value && value.type or "" == "derivation")
      // { merge = once; };
    path = simple "path" (value: builtins.isPath value
      || (isString value && builtins.substring 0 1 value == "/"));
    lines = simple "lines" isString // { merge = _: builtins.concatStringsSep "\n"; };
    raw = simple "raw" (_: true) // { merge = once; };
    enum = allowed: simple "one of ${builtins.toJSON allowed}" (value: elem value allowed);
    nullOr = type: {
      name = "null or ${type.name}";
      check = value: value == null || type.check value;
      merge = path: values:
        if lists.all (value: value == null) values then null else type.merge path values;
    };
    either = one: other: {
      name = "${one.name} or ${other.name}";
      check = value: one.check value || other.check value;
      merge = path: values: (if lists.all one.check values then one else other).merge path values;
    };
    listOf = type: {
      name = "list of ${type.name}";
      check = isList;
      merge = path: values: concatMap (concatMap (value: [ (mergeAs type path [ value ]) ])) values;
    };
    attrsOf = type: {
      name = "attribute set of ${type.name}";
      check = isAttrs;
      merge = path: sets:
        let
          definitions = name: concatMap (set: lists.optional (set ? ${name}) set.${name}) sets;
          names = filter (name: (strongest (definitions name)).values != [ ])
            (lists.unique (concatMap attrNames sets));
        in
        attributes.genAttrs names (name: mergeAs type (path ++ [ name ]) (definitions name));
    };
    anything = {
      name = "anything";
      check = _: true;
      merge = path: values:
        if lists.all (value: isAttrs value && value.type or "" != "derivation") values
        then (attrsOf anything).merge path values
        else equal path values;
    };
    coercedTo = from: coerce: to: {
      name = "${to.name} or ${from.name}";
      check = value: from.check value || to.check value;
      merge = path: values: to.merge path (map (value: if from.check value then coerce value else value) values);
    };
    submodule = module: {
      name = "submodule";
      check = value: isAttrs value || isFunction value;
      merge = _: values: (evalModules { modules = [ module ] ++ values; }).config;
    };
  };

  evalModules = { modules, specialArgs ? { } }:
    let
      moduleArguments = { inherit lib options; config = result; } // specialArgs;
      call = module:
        if !isFunction module then module
        else
          module (moduleArguments // builtins.mapAttrs
            (name: _: moduleArguments.${name} or result._module.args.${name})
            (builtins.functionArgs module));

      # A file is one module, however often it is imported.
      load = found: module:
        let
          isFile = builtins.isPath module || isString module;
          key = if isFile then toString module else null;
          loaded = call (if isFile then import module else module);
          isPlain = !(loaded ? config || loaded ? options);
          normal = {
            options = loaded.options or { };
            config = if isPlain then removeAttrs loaded [ "imports" "_file" "key" ] else loaded.config or { };
          };
          others = removeAttrs loaded [ "imports" "_file" "key" "options" "config" "meta" "_class" ];
          checked =
            if !isPlain && others != { }
            then throw "A module has `config' or `options' beside ${builtins.toJSON (attrNames others)}"
            else normal;
          marked = if isFile then found // { keys = found.keys ++ [ key ]; } else found;
          below = foldl' load marked (loaded.imports or [ ]);
        in
        if isFile && elem key found.keys then found
        else below // { modules = below.modules ++ [ checked ]; };

      loaded = (foldl' load { keys = [ ]; modules = [ ]; } ([ internal ] ++ modules)).modules;
      internal = {
        options._module.args = properties.mkOption { type = types.attrsOf types.raw; default = { }; };
      };

      declare = path: one: other: one // builtins.mapAttrs
        (name: option:
          if !(one ? ${name}) then option
          else if isType "option" option || isType "option" one.${name}
          then throw "The option ${show (path ++ [ name ])} is declared twice"
          else declare (path ++ [ name ]) one.${name} option)
        other;
      declared = foldl' (declare [ ]) { } (map (module: module.options) loaded);
      definitions = map (module: module.config) loaded;

      # What is said of one attribute, under the conditions of the whole.
      at = name: value:
        if isType "merge" value then concatMap (at name) value.contents
        else if isType "if" value then map (mkIf value.condition) (at name value.content)
        else if isType "override" value then map (mkOverride value.priority) (at name value.content)
        else lists.optional (value ? ${name}) value.${name};
      namesIn = value:
        if isType "merge" value then concatMap namesIn value.contents
        else if isType "if" value || isType "override" value then namesIn value.content
        else attrNames value;

      evaluateOption = path: option: definitions:
        let
          default = lists.optional (option ? default) (mkOptionDefault option.default);
          all = definitions ++ default;
          value =
            if (strongest all).values == [ ]
            then throw "The option ${show path} is used but not defined"
            else mergeAs option.type path all;
        in
        option // {
          value = (option.apply or (value: value)) value;
          highestPrio = (strongest all).priority;
          isDefined = (strongest all).values != [ ];
        };

      evaluate = path: tree: definitions: builtins.mapAttrs
        (name: sub:
          let below = concatMap (at name) definitions; in
          if isType "option" sub then evaluateOption (path ++ [ name ]) sub below
          else evaluate (path ++ [ name ]) sub below)
        tree;

      unknown = path: tree: definitions: concatMap
        (name:
          let below = concatMap (at name) definitions; in
          if !(tree ? ${name}) then [ (path ++ [ name ]) ]
          else if isType "option" tree.${name} then [ ]
          else unknown (path ++ [ name ]) tree.${name} below)
        (lists.unique (concatMap namesIn definitions));

      options = evaluate [ ] declared definitions;
      valuesOf = builtins.mapAttrs
        (_: sub: if isType "option" sub then sub.value else valuesOf sub);
      result = valuesOf options;
      strangers = unknown [ ] declared definitions;
    in
    {
      inherit options;
      config =
        if strangers != [ ] then throw "The option ${show (head strangers)} does not exist"
        else result;
    };

  lib = lists // attributes // strings // properties // {
    inherit types evalModules;
    nixosSystem = import ./nixos.nix { inherit lib; };
    licenses.mit = "MIT";
    platforms.unix = [ ];
  };
in
lib
