# Home Manager: programs.bootstrap, a machine as a client of the build server with synced history.
{ config, lib, ... }:
let
  cfg = config.programs.bootstrap;
in
{
  imports = [ ./build-client.nix ./atuin.nix ./profile.nix ];

  options.programs.bootstrap.aliases = lib.mkOption {
    type = lib.types.attrsOf lib.types.str;
    default = { };
    example = { gs = "git status"; };
    description = ''
      Aliases for every shell. These are there without being named: `bt`, `bs`, `bl` (the build
      server) and `rebuild`. `nixbuild aliases --sync` brings them to machines without Home Manager.
    '';
  };

  config = lib.mkIf cfg.enable {
    programs.bootstrap.aliases = lib.mapAttrs (_: lib.mkDefault) {
      bt = "build-trigger";
      bs = "build-status";
      bl = "build-logs";
      rebuild = "system-update --no-update --no-gc";
    };
    home.shellAliases = lib.mapAttrs (_: lib.mkDefault) cfg.aliases;
  };
}
