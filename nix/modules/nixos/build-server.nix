# NixOS: the build server, with the same units, users and directories that `meson install` creates on
# other systems. They are read from the package and from systemd/.
{ config, lib, options, pkgs, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.services.nixbuild;
  defaultKeyFile = "/etc/nixbuild/cache-key";
  tailscaleInterface = config.services.tailscale.interfaceName;
  hasOwnKeyFile = cfg.secretKeyFile != defaultKeyFile;
  # The packaged units hide /etc/nixbuild/cache-key themselves.
  secrets = lib.optional hasOwnKeyFile cfg.secretKeyFile ++ lib.optional (cfg.tokenFile != null) cfg.tokenFile;

  # The part of sysusers.d(5) that this file uses: g NAME, u NAME - "DESCRIPTION" HOME, m USER GROUP.
  sysusers = builtins.filter builtins.isString
    (builtins.split "\n" (builtins.readFile ../../../systemd/nixbuild.sysusers.conf));
  linesOf = expression:
    builtins.filter (fields: fields != null) (map (builtins.match expression) sysusers);
  groups = map builtins.head (linesOf "g ([^ ]+) .*");
  users = linesOf "u ([^ ]+) - \"([^\"]*)\" ([^ ]+)";
  memberships = linesOf "m ([^ ]+) ([^ ]+)";
  groupsOf = user: map (fields: builtins.elemAt fields 1)
    (builtins.filter (fields: builtins.head fields == user) memberships);

  # Credentials have the names of the settings in [[repository]].
  credentialNames = {
    sshKeyFile = "ssh_key_file";
    netrcFile = "netrc_file";
    accessTokensFile = "access_tokens_file";
  };

  configuration = lib.optional (cfg.settings != { }) config.environment.etc."nixbuild/config.toml".source;
in
{
  imports = [ ./settings.nix ./tailscale.nix ];

  options.services.nixbuild = {
    enable = lib.mkEnableOption "the Nix build server: its binary cache, its API and its builds";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ../../package.nix { };
      defaultText = lib.literalExpression "pkgs.nixbuild";
      description = "The nixbuild package to run.";
    };

    secretKeyFile = mkOption {
      type = types.str;
      default = defaultKeyFile;
      description = ''
        File with the key that the cache signs with. The default one is created at the first start; any
        other has to exist.
      '';
    };

    tokenFile = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/run/secrets/nixbuild-token";
      description = ''
        File with the token that clients of the API must send. Only root has to be able to read it:
        systemd passes it to the API.
      '';
    };

    credentials = mkOption {
      type = types.attrsOf (types.submodule {
        options = lib.genAttrs (builtins.attrNames credentialNames) (name: mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "The file that is `${credentialNames.${name}}` for this repository.";
        });
      });
      default = { };
      example = { nix-terminal.sshKeyFile = "/run/secrets/nix-terminal-deploy-key"; };
      description = ''
        Files with which private repositories and their inputs are fetched, by the repository's name. Root
        alone needs to read them: systemd hands them to the builds of that repository, which show them to
        git and to Nix's fetcher only.
      '';
    };

    remoteBuilders = mkOption {
      type = types.listOf (types.attrsOf types.anything);
      default = [ ];
      example = [{ hostName = "mac"; sshUser = "builder"; systems = [ "aarch64-darwin" ]; }];
      description = "Remote builders: elements of `nix.buildMachines`.";
    };

    emulatedSystems = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "aarch64-linux" ];
      description = "Additional systems to build for by emulation.";
    };
  };

  config = lib.mkIf cfg.enable (lib.mkMerge [
    {
      environment.systemPackages = [ cfg.package ];
      systemd.packages = [ cfg.package ];
      systemd.tmpfiles.packages = [ cfg.package ];
      # polkit finds the package's rule through systemPackages.
      security.polkit.enable = true;

      users.groups = lib.genAttrs (groups ++ map builtins.head users) (_: { });
      users.users = builtins.listToAttrs (map
        (fields: {
          name = builtins.head fields;
          value = {
            isSystemUser = true;
            group = builtins.head fields;
            extraGroups = groupsOf (builtins.head fields);
            description = builtins.elemAt fields 1;
            home = builtins.elemAt fields 2;
          };
        })
        users);

      # NixOS ignores the [Install] sections of packaged units.
      systemd.sockets.nixbuild-cache.wantedBy = [ "sockets.target" ];
      systemd.sockets.nixbuild-api.wantedBy = [ "sockets.target" ];
      systemd.services.nixbuild-cache = {
        wantedBy = [ "multi-user.target" ];
        restartTriggers = configuration;
      };
      systemd.services.nixbuild-api = {
        wantedBy = [ "multi-user.target" ];
        restartTriggers = configuration;
      };
      systemd.services."nixbuild-build@" = {
        path = [ config.nix.package pkgs.git pkgs.git-lfs pkgs.openssh ];
        # Running builds continue during a switch.
        restartIfChanged = false;
      };

      networking.firewall.interfaces.${tailscaleInterface}.allowedTCPPorts = [ 5000 8000 ];

      nix.settings.experimental-features = [ "nix-command" "flakes" ];
      nix.gc = {
        automatic = lib.mkDefault true;
        dates = lib.mkDefault "weekly";
      };
      nix.optimise.automatic = lib.mkDefault true;
    }

    # The servers listen on the interface whose ports are opened above.
    (lib.mkIf (tailscaleInterface != "tailscale0") {
      services.nixbuild.settings.tailscale_interface = lib.mkDefault tailscaleInterface;
    })

    (lib.mkIf hasOwnKeyFile {
      systemd.services.nixbuild-key.enable = false;
      systemd.services.nixbuild-cache.serviceConfig.LoadCredential = [ "" "cache-key:${cfg.secretKeyFile}" ];
    })

    (lib.mkIf (cfg.tokenFile != null) {
      systemd.services.nixbuild-api = {
        serviceConfig.LoadCredential = [ "token:${cfg.tokenFile}" ];
        environment.NIXBUILD_API_TOKEN_FILE = "%d/token";
      };
    })

    # Builds must not be able to read these. The API gets its token from systemd.
    (lib.mkIf (secrets != [ ]) {
      systemd.services."nixbuild-build@".serviceConfig.InaccessiblePaths = map (file: "-${file}") secrets;
      systemd.services.nixbuild-api.serviceConfig.InaccessiblePaths = map (file: "-${file}") secrets;
    })

    (lib.mkIf (cfg.credentials != { }) {
      # Drop-ins for instances of the package's template.
      systemd.services = builtins.listToAttrs (lib.mapAttrsToList
        (repository: files: {
          name = "nixbuild-build@${repository}";
          value = {
            overrideStrategy = "asDropin";
            restartIfChanged = false;
            serviceConfig.LoadCredential = lib.mapAttrsToList
              (option: name: "${name}:${files.${option}}")
              (lib.filterAttrs (option: _: files.${option} != null) credentialNames);
          };
        })
        cfg.credentials);
    })

    (lib.mkIf (cfg.remoteBuilders != [ ]) {
      nix.distributedBuilds = true;
      nix.buildMachines = cfg.remoteBuilders;
      nix.settings.builders-use-substitutes = lib.mkDefault true;
    })

    (lib.mkIf (cfg.emulatedSystems != [ ]) ({
      boot.binfmt.emulatedSystems = cfg.emulatedSystems;
    } // lib.optionalAttrs (options ? wsl) {
      # Otherwise, registering emulators removes the handler for Windows programs.
      wsl.interop.register = lib.mkDefault true;
    }))
  ]);
}
