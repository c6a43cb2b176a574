# NixOS: services.bootstrap-services.tailscale runs the system's daemon.
{ config, lib, ... }:
let
  cfg = config.services.bootstrap-services.tailscale;
in
{
  imports = [ ../tailscale-options.nix ];

  config.services.tailscale = lib.mkIf cfg.enable {
    enable = true;
    authKeyFile = lib.mkIf (cfg.keyFile != null) cfg.keyFile;
  };
}
