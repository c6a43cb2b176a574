# A stand-in for NixOS: the options of it that this repository's modules set.
{ lib }:
{ modules, system ? null, pkgs ? import ./packages.nix { inherit lib; system = if system == null then "x86_64-linux" else system; }, specialArgs ? { } }:
let
  inherit (lib) mkOption types;
  any = mkOption { type = types.anything; };
  set = mkOption { type = types.attrsOf types.anything; default = { }; };
  list = mkOption { type = types.listOf types.anything; default = [ ]; };
  flag = mkOption { type = types.bool; default = false; };
  unit = mkOption { type = types.attrsOf (types.attrsOf types.anything); default = { }; };
  base = {
    options = {
      assertions = list;
      warnings = list;
      boot.binfmt.emulatedSystems = list;
      boot.isContainer = flag;
      environment.etc = set;
      environment.systemPackages = list;
      fileSystems = set;
      networking.hostName = mkOption { type = types.str; default = "nixos"; };
      networking.firewall.interfaces = set;
      nix = {
        package = mkOption { type = types.package; default = pkgs.nix; };
        settings = {
          substituters = list;
          trusted-substituters = list;
          trusted-public-keys = list;
          experimental-features = list;
          connect-timeout = any;
          fallback = any;
          narinfo-cache-negative-ttl = any;
          builders-use-substitutes = any;
        };
        gc.automatic = flag;
        gc.dates = mkOption { type = types.str; default = "03:15"; };
        optimise.automatic = flag;
        distributedBuilds = flag;
        buildMachines = list;
      };
      programs = lib.genAttrs [ "bash" "zsh" "fish" ] (_: {
        interactiveShellInit = mkOption { type = types.lines; default = ""; };
      });
      security.polkit.enable = flag;
      services.tailscale = {
        enable = flag;
        authKeyFile = mkOption { type = types.nullOr types.path; default = null; };
        interfaceName = mkOption { type = types.str; default = "tailscale0"; };
      };
      system.build.toplevel = any;
      system.stateVersion = mkOption { type = types.str; default = "26.05"; };
      systemd = {
        packages = list;
        tmpfiles.packages = list;
        services = unit;
        sockets = unit;
      };
      users.users = set;
      users.groups = set;
    };
    config = {
      _module.args = { inherit pkgs; };
      nix.settings.substituters = [ "https://cache.nixos.org/" ];
    };
  };
  evaluated = lib.evalModules { modules = [ base ] ++ modules; inherit specialArgs; };
  failed = builtins.filter (one: !one.assertion) evaluated.config.assertions;
in
evaluated // {
  inherit pkgs;
  config = if failed == [ ] then evaluated.config else throw (builtins.head failed).message;
}
