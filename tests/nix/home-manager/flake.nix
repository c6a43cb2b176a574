{
  description = "A stand-in for Home Manager";
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
  outputs = { self, nixpkgs }: {
    lib.homeManagerConfiguration = import ./home.nix;
  };
}
