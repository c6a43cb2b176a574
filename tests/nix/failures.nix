# The cases that went wrong, with what came out: { } when all is well.
{ lib ? import ./nixpkgs/lib.nix
, pkgs ? import ./nixpkgs/packages.nix { inherit lib; system = "x86_64-linux"; }
, home ? modules: (import ./home-manager/home.nix { inherit pkgs modules; }).config
, nixos ? modules: (import ./nixpkgs/nixos.nix { inherit lib; } { inherit modules pkgs; }).config
}:
let
  me = { home = { username = "me"; homeDirectory = "/home/me"; stateVersion = "25.05"; }; };
  cases = import ./cases.nix {
    inherit lib pkgs nixos;
    home = modules: home ([ me ] ++ modules);
  };
in
lib.filterAttrs (_: case: case.got != case.want) cases
