# The cases that went wrong, with what came out: { } when all is well. `home` takes what is to be passed
# on by extraSpecialArgs, then modules.
{ lib ? import ./nixpkgs/lib.nix
, pkgs ? import ./nixpkgs/packages.nix { inherit lib; system = "x86_64-linux"; }
, home ? extraSpecialArgs: modules:
    (import ./home-manager/home.nix { inherit pkgs modules extraSpecialArgs; }).config
, nixos ? modules: (import ./nixpkgs/nixos.nix { inherit lib; } { inherit modules pkgs; }).config
}:
let
  me = { home = { username = "me"; homeDirectory = "/home/me"; stateVersion = "25.05"; }; };
  cases = import ./cases.nix {
    inherit lib pkgs nixos;
    homeWith = extraSpecialArgs: modules: home extraSpecialArgs ([ me ] ++ modules);
  };
in
lib.filterAttrs (_: case: case.got != case.want) cases
