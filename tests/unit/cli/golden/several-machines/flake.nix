# Written by `nixbuild bootstrap --multi-host`. Edit it as you like.
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

      # In a git repository, a flake consists of the files that git knows, and git ignores secrets/.
      # There the file is read by the path in host.nix, which Nix allows only with --impure.
      ownFile = name: ./secrets + "/${name}.nix";
      hasSecrets = name: builtins.pathExists (ownFile name)
        || (isImpure && builtins.pathExists (hostOf name).secrets);
      impureCommand = attribute: ''
        git ignores secrets/, so this flake cannot read it without --impure. Run:
          home-manager switch --impure --flake .#${attribute}
        or, after the first switch:
          nixbuild system-update --impure
      '';
      secretsOf = name:
        if builtins.pathExists (ownFile name) then
          import (ownFile name)
        else if !isImpure then
          throw (impureCommand (fullName name))
        else if hasSecrets name then
          import (hostOf name).secrets
        else
          throw "${(hostOf name).secrets} does not exist; on that machine, `nixbuild bootstrap --multi-host` creates it";

      homeOf = name: home-manager.lib.homeManagerConfiguration {
        pkgs = nixpkgs.legacyPackages.${(hostOf name).system};
        extraSpecialArgs = { inherit inputs; secrets = secretsOf name; };
        modules = [ (./hosts + "/${name}/home.nix") ];
      };

      # If a name fits several machines, it means the one whose secrets are here.
      choose = candidates:
        let here = builtins.filter hasSecrets candidates; in
        if builtins.length here == 1 then homeOf (builtins.head here)
        else if builtins.length candidates == 1 then homeOf (builtins.head candidates)
        else if here == [ ] && !isImpure then throw (impureCommand "default")
        else throw "several machines match; name one of ${builtins.concatStringsSep ", " (map fullName candidates)}";

      fullName = name: "${(hostOf name).user}@${name}";
      shortName = name: builtins.head (builtins.split "\\." name);
      users = map (name: (hostOf name).user) hostNames;
      entry = name: value: { inherit name value; };
    in
    {
      # Of entries with the same name, the first one wins.
      homeConfigurations = builtins.listToAttrs (
        map (name: entry (fullName name) (homeOf name)) hostNames
        ++ map (name: entry "${(hostOf name).user}@${shortName name}" (homeOf name)) hostNames
        ++ [ (entry "default" (choose hostNames)) ]
        ++ map (user: entry user (choose (builtins.filter (name: (hostOf name).user == user) hostNames))) users
        # For `home-manager switch --flake .#`.
        ++ [ (entry "" (choose hostNames)) ]
      );
    };
}
