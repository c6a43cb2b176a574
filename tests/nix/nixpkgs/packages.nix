# A stand-in for nixpkgs' packages: any that is asked for by name is a derivation that cannot be built.
{ lib, system }:
let
  make = name: attributes: derivation (attributes // {
    inherit name system;
    builder = "/bin/sh";
    args = [ "-c" "exit 1" ];
  });
  names = [
    "meson"
    "ninja"
    "pkg-config"
    "boost"
    "bzip2"
    "cli11"
    "coreutils"
    "curl"
    "fmt"
    "libsodium"
    "nlohmann_json"
    "openssl"
    "spdlog"
    "sqlite"
    "systemd"
    "tomlplusplus"
    "xz"
    "zstd"
    "git"
    "nix"
    "git-lfs"
    "openssh"
    "syncthing"
    "tailscale"
    "wl-clipboard"
    "xclip"
    "atuin"
    "doctest"
    "util-linux"
    "ccache"
    "clang-tools"
    "codespell"
    "nixpkgs-fmt"
    "shellcheck"
  ];
  format.type = lib.types.attrsOf lib.types.anything;

  pkgs = lib.genAttrs names (name: make name { } // { pname = name; }) // {
    inherit lib system;
    stdenv = {
      hostPlatform = {
        inherit system;
        isLinux = builtins.match ".*-linux" system != null;
        isDarwin = builtins.match ".*-darwin" system != null;
      };
      buildPlatform.canExecute = platform: platform.system == system;
      mkDerivation = function:
        let attributes = function attributes; in
        make "${attributes.pname}-${attributes.version}" (removeAttrs attributes [ "meta" "strictDeps" ])
          // { inherit (attributes) meta; };
    };
    callPackage = file: overrides:
      let function = import file; in
      function (builtins.intersectAttrs (builtins.functionArgs function) (pkgs // overrides)) // {
        override = others: pkgs.callPackage file (overrides // others);
      };
    mkShell = { inputsFrom, packages }: make "nix-shell" { inherit inputsFrom packages; };
    python3 = make "python3" { } // {
      withPackages = select: make "python3-env" {
        packages = select (lib.genAttrs [ "pynacl" "pytest" "pytest-timeout" "pytest-xdist" ] (name: make name { }));
      };
    };
    runCommand = name: attributes: script: make name (attributes // { inherit script; });
    writeText = name: text: make name { inherit text; };
    writeShellApplication = { name, runtimeInputs, text }:
      make name { inherit runtimeInputs text; } // { meta.mainProgram = name; };
    formats.toml = _: format // { generate = name: value: make name { text = builtins.toJSON value; }; };
    formats.json = pkgs.formats.toml;
  };
in
pkgs
