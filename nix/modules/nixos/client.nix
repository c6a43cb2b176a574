# NixOS: the build server as a substituter for all users.
{ config, lib, ... }:
let
  cfg = config.programs.bootstrap;
  inherit (import ../caches.nix { inherit lib; }) caches clientSettings recordKeys;
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
      services.nixbuild.settings.client = {
        server = lib.mkDefault cfg.buildServer.address;
        record_keys = lib.mkIf (recordKeys cfg != [ ]) (lib.mkDefault (recordKeys cfg));
      };
    })
    (lib.mkIf (chosen.substituters != [ ]) {
      nix.settings = clientSettings // {
        substituters = chosen.substituters;
        # Untrusted users can use these, for example in Home Manager's nix.conf.
        trusted-substituters = chosen.substituters;
        trusted-public-keys = chosen.publicKeys;
      };
    })
  ]);
}
