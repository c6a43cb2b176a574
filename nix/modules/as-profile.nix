# Makes a Home Manager module of the machine profile templates/NAME.nix. A machine overrides what it
# wants to.
name:
{ lib, ... }:
{
  imports = [ ./default.nix ];
  programs.bootstrap.profile =
    lib.mapAttrs (_: lib.mkDefault) ({ inherit name; } // import (../templates + "/${name}.nix"));
}
