# Home Manager: the build server as a substituter, and the commands that talk to it.
{ config, lib, pkgs, ... }:
let
  cfg = config.programs.bootstrap;
  inherit (import ./caches.nix { inherit lib; }) caches clientSettings recordKeys;
  chosen = caches cfg;
  toml = pkgs.formats.toml { };
in
{
  imports = [ ./cache-options.nix ./nix-package.nix ];

  options.programs.bootstrap.settings = lib.mkOption {
    inherit (toml) type;
    default = { };
    example = { client.token_file = "/home/me/.config/nixbuild/token"; };
    description = "The content of ~/.config/nixbuild/config.toml; see {manpage}`nixbuild-config(1)`.";
  };

  config = lib.mkIf cfg.enable (lib.mkMerge [
    {
      home.packages = [ cfg.package ];
      inherit (chosen) warnings;
      # Home Manager replaces the user's nix.conf, which may be what enables flakes.
      nix.settings.extra-experimental-features = [ "nix-command" "flakes" ];
    }
    (lib.mkIf cfg.buildServer.enable {
      programs.bootstrap.settings.client = {
        server = lib.mkDefault cfg.buildServer.address;
        record_keys = lib.mkIf (recordKeys cfg != [ ]) (lib.mkDefault (recordKeys cfg));
      };
    })
    (lib.mkIf (cfg.settings != { }) {
      xdg.configFile."nixbuild/config.toml".source = toml.generate "nixbuild-config.toml" cfg.settings;
    })
    # In addition to the system's caches. Nix asks the cache with the lowest priority number first, which
    # is the build server.
    (lib.mkIf (chosen.substituters != [ ]) {
      nix.settings = clientSettings // {
        extra-substituters = chosen.substituters;
        extra-trusted-public-keys = chosen.publicKeys;
      };
    })
  ]);
}
