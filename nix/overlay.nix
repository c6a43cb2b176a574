final: _: {
  nixbuild = final.callPackage ./package.nix { };
  bootstrap-scripts = import ./packages { pkgs = final; inherit (final) nixbuild; };
}
