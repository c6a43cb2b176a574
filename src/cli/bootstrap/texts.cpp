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
@TERMINAL@  };
)nix";

const std::string_view terminal_input = R"nix(    nix-terminal = {
      url = @TERMINAL_URL@;
      inputs.nixpkgs.follows = "nixpkgs";
    };
)nix";

// `builtins.currentSystem` exists only under --impure.
const std::string_view flake = R"nix(# Written by `nixbuild bootstrap`. Edit it as you like.
{
  description = "The home configuration of one machine";

@INPUTS@
  outputs = inputs@{ nixpkgs, home-manager, ... }:
    let
      # In a git repository, a flake consists of the files that git knows, and git ignores secrets.nix.
      # There it is read by its absolute path, which Nix allows only with --impure.
      secretsFile = @SECRETS@;
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
        pkgs = nixpkgs.legacyPackages.@SYSTEM@;
        extraSpecialArgs = { inherit inputs secrets; };
        modules = [ ./home.nix ];
      };

      names = [
@NAMES@        # For `home-manager switch --flake .#`.
        ""
      ];
    in
    {
      homeConfigurations = builtins.listToAttrs (map (name: { inherit name; value = home; }) names);
    };
}
)nix";

const std::string_view flake_of_hosts =
    R"nix(# Written by `nixbuild bootstrap --multi-host`. Edit it as you like.
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
)nix";

const std::string_view home_of_client = R"nix({ inputs, secrets, ... }:
{
  imports = [ inputs.atuin-bootstrap.homeManagerModules.build-client ];

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
    settings.update = secrets.update or { };
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

  # The profile enables these and selects folders; settings here take precedence.
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
  # This machine's secrets file, which git ignores.
  secrets = @SECRETS@;
}
)nix";

const std::string_view secrets =
    R"nix(# This machine's own values. Git ignores this file. Outside git it is copied to the Nix store with the
# flake, where every user of this machine can read it: do not write secrets here, only the paths of
# files that contain them.
{
  buildServer = {
    address = @ADDRESS@;
@CACHE_URL@    publicKey = @PUBLIC_KEY@;
  };

  # The flake that `nixbuild system-update` rebuilds, from any directory.
  update = {
    home_flake = @DIRECTORY@;
    # In a git repository this file can be read only with --impure.
    impure = @IN_GIT@;
  };
@SERVICES@}
)nix";

const std::string_view secrets_of_services = R"nix(
  syncthing = {
    # As `syncthing --device-id` prints it, on this machine and on the others.
    deviceId = null;
    devices = {
      # desktop = "AAAAAAA-…";
    };
  };

  # A file with a key for joining the tailnet, if this machine has one.
  tailscale.authKeyFile = @AUTH_KEY_FILE@;
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
