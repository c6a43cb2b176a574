# NixOS: the build server as a substituter of the whole machine.
{ config, lib, ... }:
let
  cfg = config.programs.bootstrap;
  inherit (import ../caches.nix { inherit lib; }) caches clientSettings;
  chosen = caches cfg;
in
{
  imports = [ ../cache-options.nix ./settings.nix ./tailscale.nix ];

  config = lib.mkIf cfg.enable (lib.mkMerge [
    {
      environment.systemPackages = [ cfg.package ];
      inherit (chosen) warnings;
    }
    (lib.mkIf cfg.buildServer.enable {
      services.nixbuild.settings.client.server = lib.mkDefault cfg.buildServer.address;
    })
    (lib.mkIf (chosen.substituters != [ ]) {
      nix.settings = clientSettings // {
        substituters = chosen.substituters;
        # What users may name themselves, as Home Manager's nix.conf does.
        trusted-substituters = chosen.substituters;
        trusted-public-keys = chosen.publicKeys;
      };
    })
  ]);
}
