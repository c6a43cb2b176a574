# Written by `nixbuild bootstrap`. Edit it as you like.
{
  description = "The home configuration of one machine";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    home-manager = {
      url = "github:nix-community/home-manager";
      inputs.nixpkgs.follows = "nixpkgs";
    };
    atuin-bootstrap = {
      url = "github:Bullish-Design/atuin-bootstrap";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs = inputs@{ nixpkgs, home-manager, ... }:
    let
      # In a git repository, a flake consists of the files that git knows, and git ignores secrets.nix.
      # There it is read by its absolute path, which Nix allows only with --impure.
      secretsFile = "/home/ann/nix/secrets.nix";
      secrets =
        if builtins.pathExists ./secrets.nix then
          import ./secrets.nix
        else if !(builtins ? currentSystem) then
          throw ''
            git ignores secrets.nix, so this flake cannot read it without --impure. Run:
              home-manager switch --impure --flake .#default
            or, after the first switch:
              nixbuild system-update --impure
          ''
        else if builtins.pathExists secretsFile then
          import secretsFile
        else
          throw "${secretsFile} does not exist; `nixbuild bootstrap` creates it, or correct secretsFile in flake.nix";

      home = home-manager.lib.homeManagerConfiguration {
        pkgs = nixpkgs.legacyPackages."x86_64-linux";
        extraSpecialArgs = { inherit inputs secrets; };
        modules = [ ./home.nix ];
      };

      names = [
        "default"
        "ann"
        "ann@new-laptop"
        # For `home-manager switch --flake .#`.
        ""
      ];
    in
    {
      homeConfigurations = builtins.listToAttrs (map (name: { inherit name; value = home; }) names);
    };
}
