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

  outputs = { nixpkgs, home-manager, ... }@inputs:
    let
      system = "x86_64-linux";

      # In a git repository, a flake consists of the files that git knows, and git ignores secrets.nix.
      # There it is read from the working directory, which Nix allows only with --impure.
      secretsFile = builtins.getEnv "PWD" + "/secrets.nix";
      secrets =
        if builtins.pathExists ./secrets.nix then import ./secrets.nix
        else if !(builtins ? currentSystem) then
          throw ''
            secrets.nix is missing. Copy secrets.example.nix to secrets.nix and edit it. In a git repository, then run:
              home-manager switch --impure --flake .#default
          ''
        else if builtins.pathExists secretsFile then import secretsFile
        else throw "${secretsFile} does not exist; copy secrets.example.nix to it and edit it";
    in
    {
      homeConfigurations.default = home-manager.lib.homeManagerConfiguration {
        pkgs = nixpkgs.legacyPackages.${system};
        extraSpecialArgs = { inherit inputs secrets; };
        modules = [ ./home.nix ];
      };
    };
}
