{
  description = "A stand-in for nixpkgs";
  outputs = { self }: rec {
    lib = import ./lib.nix;
    legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" "aarch64-darwin" ]
      (system: import ./packages.nix { inherit lib system; })
    // { x86_64-darwin = throw "Nixpkgs has dropped support for x86_64-darwin"; };
  };
}
