# The cases with the real module system and the real Home Manager, but still without real packages.
# `nixpkgs` is a checkout of nixpkgs, of which lib/ and nixos/modules/misc/{assertions,meta}.nix are
# read; `homeManager` is one of Home Manager.
{ nixpkgs, homeManager }:
let
  lib = import (nixpkgs + "/lib");
  standIn = import ./nixpkgs/packages.nix { inherit lib; system = "x86_64-linux"; };
  make = name: standIn.writeText name "" // { version = "99"; pname = name; meta.mainProgram = name; };
  makeNamed = attributes: make (attributes.name or "unnamed");
  make2 = name: _: make name;
  make3 = name: _: _: make name;

  json = lib.types.nullOr (with lib.types; oneOf [ bool int float str path (attrsOf json) (listOf json) ]);
  format = _: {
    type = json // { description = "anything that JSON can say"; };
    lib.types.atom = json;
    generate = name: _: make name;
  };
  # Neovim's wrapper tells the configuration that it was made with.
  neovim = make "neovim" // { initRc = ""; luaRcContent = ""; overrideAttrs = _: neovim; };

  # Packages that Home Manager's modules name, beyond those that ours do.
  named = lib.genAttrs [
    "atuin"
    "bash"
    "bash-preexec"
    "bashInteractive"
    "bat"
    "coreutils"
    "curl"
    "dbus"
    "dconf"
    "diffutils"
    "direnv"
    "eza"
    "fd"
    "findutils"
    "fontconfig"
    "gawk"
    "gettext"
    "git"
    "glibcLocales"
    "gnugrep"
    "gnupg"
    "gnused"
    "htop"
    "inetutils"
    "jq"
    "less"
    "libxml2"
    "man"
    "man-db"
    "mkpasswd"
    "ncurses"
    "neovim-unwrapped"
    "nix"
    "nix-direnv"
    "nix-zsh-completions"
    "git-lfs"
    "openssh"
    "ripgrep"
    "sd-switch"
    "shared-mime-info"
    "syncthing"
    "syncthingtray-minimal"
    "tailscale"
    "tmux"
    "wl-clipboard"
    "xclip"
    "zoxide"
    "zsh"
    "zsh-autosuggestions"
    "zsh-syntax-highlighting"
  ]
    make;
  pkgs = standIn // named // {
    path = nixpkgs;
    stdenv = standIn.stdenv // { hostPlatform = lib.systems.elaborate "x86_64-linux"; };
    callPackage = file: overrides:
      let function = import file; in
      function (builtins.intersectAttrs (builtins.functionArgs function) (pkgs // overrides));
    formats = lib.genAttrs
      [ "hocon" "ini" "iniWithGlobalSection" "json" "keyValue" "libconfig" "lua" "plist" "toml" "xml" "yaml" ]
      (_: format);
    writers.writeBash = make2;
    writeShellScript = make2;
    writeShellScriptBin = make2;
    writeScript = make2;
    writeTextDir = make2;
    linkFarm = make2;
    writeTextFile = makeNamed;
    buildEnv = makeNamed;
    symlinkJoin = makeNamed;
    runCommand = make3;
    runCommandLocal = make3;
    wrapNeovimUnstable = _: _: neovim;
    neovimUtils.makeVimPackageInfo = _: {
      luaDependencies = [ ];
      pluginAdvisedLua = [ ];
      plugins = [ ];
      runtimeDeps = [ ];
      userPluginViml = [ ];
      vimPackage = { };
    };
  };
in
import ./failures.nix {
  inherit lib pkgs;
  home = extraSpecialArgs: modules: (import (homeManager + "/modules") {
    inherit lib pkgs extraSpecialArgs;
    configuration.imports = modules ++ [{ _module.args.pkgs = lib.mkForce pkgs; }];
  }).config;
}
