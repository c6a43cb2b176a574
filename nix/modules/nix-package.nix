# Home Manager: the Nix that its nix.conf is written for, which it wants to be told where there are
# settings. Weaker than any default: on NixOS, Home Manager says itself which one.
{ config, lib, pkgs, ... }:
{
  config.nix.package = lib.mkIf (config.nix.settings != { }) (lib.mkOverride 1400 pkgs.nix);
}
