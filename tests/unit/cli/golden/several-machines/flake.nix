# Made by `nixbuild bootstrap --multi-host`. It is yours from here on.
#
# Each machine has a directory hosts/NAME. Its secrets are in secrets/NAME.nix, on that machine only.
{
  description = "The home configurations of several machines";

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
      isImpure = builtins ? currentSystem;
      isHost = name: builtins.pathExists (./hosts + "/${name}/host.nix");
      hostNames = builtins.filter isHost (builtins.attrNames (builtins.readDir ./hosts));
      hostOf = name: import (./hosts + "/${name}/host.nix");

      # Git ignores secrets/, and what git ignores is no part of a flake in a repository. The file is
      # then read from where host.nix says that it is, which Nix does under --impure only.
      ownFile = name: ./secrets + "/${name}.nix";
      hasSecrets = name: builtins.pathExists (ownFile name)
        || (isImpure && builtins.pathExists (hostOf name).secrets);
      impureCommand = attribute: ''
        git ignores secrets/, so it is no part of this flake. Type:
          home-manager switch --impure --flake .#${attribute}
        or, where that has been done once,
          nixbuild system-update --impure
      '';
      secretsOf = name:
        if builtins.pathExists (ownFile name) then
          import (ownFile name)
        else if !isImpure then
          throw (impureCommand "default")
        else if hasSecrets name then
          import (hostOf name).secrets
        else
          throw "there is no ${(hostOf name).secrets}; on that machine, `nixbuild bootstrap --multi-host` writes it";

      homeOf = name: home-manager.lib.homeManagerConfiguration {
        pkgs = nixpkgs.legacyPackages.${(hostOf name).system};
        extraSpecialArgs = { inherit inputs; secrets = secretsOf name; };
        modules = [ (./hosts + "/${name}/home.nix") ];
      };

      # A name that fits several machines means the one whose secrets are here.
      choose = candidates:
        let here = builtins.filter hasSecrets candidates; in
        if builtins.length here == 1 then homeOf (builtins.head here)
        else if builtins.length candidates == 1 then homeOf (builtins.head candidates)
        else if here == [ ] && !isImpure then throw (impureCommand "default")
        else throw "which machine? Name one: ${builtins.concatStringsSep ", " (map fullName candidates)}";

      fullName = name: "${(hostOf name).user}@${name}";
      shortName = name: builtins.head (builtins.split "\\." name);
      users = map (name: (hostOf name).user) hostNames;
      entry = name: value: { inherit name value; };
    in
    {
      # Of entries with the same name the first one counts.
      homeConfigurations = builtins.listToAttrs (
        map (name: entry (fullName name) (homeOf name)) hostNames
        ++ map (name: entry "${(hostOf name).user}@${shortName name}" (homeOf name)) hostNames
        ++ [ (entry "default" (choose hostNames)) ]
        ++ map (user: entry user (choose (builtins.filter (name: (hostOf name).user == user) hostNames))) users
        # What `home-manager switch --flake .#` asks for.
        ++ [ (entry "" (choose hostNames)) ]
      );
    };
}
