#include "cli/bootstrap/texts.hpp"

namespace nixbuild::cli::texts {

const std::string_view inputs = R"nix(  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    home-manager = {
      url = "github:nix-community/home-manager";
      inputs.nixpkgs.follows = "nixpkgs";
    };
    atuin-bootstrap = {
      url = @BOOTSTRAP_URL@;
      inputs.nixpkgs.follows = "nixpkgs";
    };
    nix-terminal = {
      url = @TERMINAL_URL@;
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };
)nix";

// `builtins.currentSystem` is there under --impure only.
const std::string_view flake = R"nix(# Made by `nixbuild bootstrap`. It is yours from here on.
{
  description = "The home configuration of one machine";

@INPUTS@
  outputs = inputs@{ nixpkgs, home-manager, ... }:
    let
      # Git ignores secrets.nix, and what git ignores is no part of a flake in a repository. It is
      # then read from where it is, which Nix does under --impure only.
      secretsFile = @SECRETS@;
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
        pkgs = nixpkgs.legacyPackages.@SYSTEM@;
        extraSpecialArgs = { inherit inputs secrets; };
        modules = [ ./home.nix ];
      };

      names = [
@NAMES@        # What `home-manager switch --flake .#` asks for.
        ""
      ];
    in
    {
      homeConfigurations = builtins.listToAttrs (map (name: { inherit name; value = home; }) names);
    };
}
)nix";

const std::string_view flake_of_hosts =
    R"nix(# Made by `nixbuild bootstrap --multi-host`. It is yours from here on.
#
# Each machine has a directory hosts/NAME. Its secrets are in secrets/NAME.nix, on that machine only.
{
  description = "The home configurations of several machines";

@INPUTS@
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
)nix";

const std::string_view home = R"nix({ inputs, secrets, ... }:
{
  imports = [
    inputs.atuin-bootstrap.homeManagerModules.default
    inputs.atuin-bootstrap.homeManagerModules.@PROFILE@
    inputs.nix-terminal.homeManagerModules.terminal
  ];

  home = {
    username = @USER@;
    homeDirectory = @HOME@;
    stateVersion = "25.05";
  };

  programs.home-manager.enable = true;

  programs.bootstrap = {
    enable = true;
    buildServer = secrets.buildServer // {
      enable = true;
    };
    atuin = {
      enable = true;
      syncServer = "https://api.atuin.sh";
    };
    settings.update = secrets.update or { };
  };

  # The profile turns these on and chooses folders; what is said here goes on top.
  services.bootstrap-services = {
    syncthing = secrets.syncthing // {
      folders = { };
    };
    tailscale = secrets.tailscale;
  };
}
)nix";

const std::string_view host = R"nix({
  system = @SYSTEM@;
  user = @USER@;
  # Where this machine keeps its secrets, which git ignores.
  secrets = @SECRETS@;
}
)nix";

const std::string_view secrets =
    R"nix(# This machine's own values, which git ignores. Outside git they get into the Nix store with the
# flake, where every user of this machine can read them: write no secret here, but the path of a
# file that holds it.
{
  buildServer = {
    address = @ADDRESS@;
@CACHE_URL@    publicKey = @PUBLIC_KEY@;
  };

  # What `nixbuild system-update` rebuilds, in whatever directory it is typed.
  update = {
    home_flake = @DIRECTORY@;
    # Whether it has to pass --impure: git ignores this file, so inside a repository it has.
    impure = @IN_GIT@;
  };

  syncthing = {
    # What `syncthing --device-id` prints here, and on the other machines.
    deviceId = null;
    devices = {
      # desktop = "AAAAAAA-…";
    };
  };

  # A key for joining the tailnet, where this machine has one.
  tailscale.authKeyFile = @AUTH_KEY_FILE@;
}
)nix";

const std::string_view ignored = R"(/secrets.nix
/secrets.nix.backup-*
/.nixbuild-bootstrap-*
/result
)";

const std::string_view ignored_of_hosts = R"(/secrets/
/.nixbuild-bootstrap-*
/result
)";

}  // namespace nixbuild::cli::texts
