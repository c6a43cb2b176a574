# Home Manager: the Nix package that nix.conf is checked with, which it requires if there are settings.
# Weaker than mkDefault, since on NixOS Home Manager sets it itself.
{ config, lib, pkgs, ... }:
{
  config.nix.package = lib.mkIf (config.nix.settings != { }) (lib.mkOverride 1400 pkgs.nix);
}
