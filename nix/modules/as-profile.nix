# Makes a Home Manager module from the machine profile templates/NAME.nix, whose values are defaults.
name:
{ lib, ... }:
{
  imports = [ ./default.nix ];
  programs.bootstrap.profile =
    lib.mapAttrs (_: lib.mkDefault) ({ inherit name; } // import (../templates + "/${name}.nix"));
}
