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

      # Git ignores secrets.nix, and what git ignores is no part of a flake in a repository. It is
      # then read from the directory that the command is typed in, which Nix does under --impure only.
      secretsFile = builtins.getEnv "PWD" + "/secrets.nix";
      secrets =
        if builtins.pathExists ./secrets.nix then import ./secrets.nix
        else if !(builtins ? currentSystem) then
          throw ''
            there is no secrets.nix in this flake. Make it from secrets.example.nix; in a git repository, then type:
              home-manager switch --impure --flake .#default
          ''
        else if builtins.pathExists secretsFile then import secretsFile
        else throw "there is no ${secretsFile}; make it from secrets.example.nix";
    in
    {
      homeConfigurations.default = home-manager.lib.homeManagerConfiguration {
        pkgs = nixpkgs.legacyPackages.${system};
        extraSpecialArgs = { inherit inputs secrets; };
        modules = [ ./home.nix ];
      };
    };
}
