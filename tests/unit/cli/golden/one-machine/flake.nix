# Made by `nixbuild bootstrap`. It is yours from here on.
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
    nix-terminal = {
      url = "github:Bullish-Design/nix-terminal";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs = inputs@{ nixpkgs, home-manager, ... }:
    let
      # Git ignores secrets.nix, and what git ignores is no part of a flake in a repository. It is
      # then read from where it is, which Nix does under --impure only.
      secretsFile = "/home/ann/nix/secrets.nix";
      secrets =
        if builtins.pathExists ./secrets.nix then
          import ./secrets.nix
        else if !(builtins ? currentSystem) then
          throw ''
            git ignores secrets.nix, so it is no part of this flake. Type:
              home-manager switch --impure --flake .#default
            or, where that has been done once,
              nixbuild system-update --impure
          ''
        else if builtins.pathExists secretsFile then
          import secretsFile
        else
          throw "there is no ${secretsFile}; `nixbuild bootstrap` writes it, or set secretsFile in flake.nix to where it is";

      home = home-manager.lib.homeManagerConfiguration {
        pkgs = nixpkgs.legacyPackages."x86_64-linux";
        extraSpecialArgs = { inherit inputs secrets; };
        modules = [ ./home.nix ];
      };

      names = [
        "default"
        "ann"
        "ann@new-laptop"
        # What `home-manager switch --flake .#` asks for.
        ""
      ];
    in
    {
      homeConfigurations = builtins.listToAttrs (map (name: { inherit name; value = home; }) names);
    };
}
