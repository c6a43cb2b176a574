# Home Manager: the build server as a substituter, and the commands that talk to it.
{ config, lib, pkgs, osConfig ? null, ... }:
let
  cfg = config.programs.bootstrap;
  inherit (import ./caches.nix { inherit lib; }) caches clientSettings peerWarnings recordKeys;
  chosen = caches cfg;
  systemIsPeer = osConfig.programs.bootstrap.buildServer.peer.enable or false;
  systemHasProxy = osConfig.programs.bootstrap.buildServer.proxy.enable or false;
  toml = pkgs.formats.toml { };
in
{
  imports = [ ./cache-options.nix ./nix-package.nix ];

  options.programs.bootstrap.settings = lib.mkOption {
    inherit (toml) type;
    default = { };
    example = { client.token_file = "/home/me/.config/nixbuild/token"; };
    description = "The content of ~/.config/nixbuild/config.toml; see {manpage}`nixbuild-config(1)`.";
  };

  config = lib.mkIf cfg.enable (lib.mkMerge [
    {
      home.packages = [ cfg.package ];
      warnings = chosen.warnings ++ peerWarnings cfg;
      # Home Manager replaces the user's nix.conf, which may be what enables flakes.
      nix.settings.extra-experimental-features = [ "nix-command" "flakes" ];
    }
    (lib.mkIf cfg.buildServer.enable {
      programs.bootstrap.settings.client = {
        server = lib.mkDefault cfg.buildServer.address;
        record_keys = lib.mkIf (recordKeys cfg != [ ]) (lib.mkDefault (recordKeys cfg));
      };
    })
    (lib.mkIf (cfg.settings != { }) {
      xdg.configFile."nixbuild/config.toml".source = toml.generate "nixbuild-config.toml" cfg.settings;
    })
    (lib.mkIf (cfg.buildServer.proxy.enable && chosen.upstreams != [ ]) {
      assertions = [{
        assertion = pkgs.stdenv.hostPlatform.isLinux;
        message = "programs.bootstrap.buildServer.proxy: the proxy runs on Linux only.";
      }];
      programs.bootstrap.settings.proxy.upstream = lib.mkDefault chosen.upstreams;
    })
    # On NixOS, the system's proxy serves all users.
    (lib.mkIf (cfg.buildServer.proxy.enable && chosen.upstreams != [ ] && !systemHasProxy) {
      # As in systemd/nixbuild-proxy.socket. Nix waits at a socket while the service restarts, and another
      # user's proxy on the same address makes the socket fail once instead of the service again and again.
      systemd.user.sockets.nixbuild-proxy = {
        Unit.Description = "Sockets of the proxy for Nix binary caches, on loopback";
        Socket = {
          ListenStream = [ "127.0.0.1:5001" "[::1]:5001" ];
          BindIPv6Only = "ipv6-only";
          Backlog = 4096;
          NoDelay = true;
        };
        Install.WantedBy = [ "sockets.target" ];
      };
      systemd.user.services.nixbuild-proxy = {
        Unit = {
          Description = "Proxy for Nix binary caches that may be unreachable";
          Documentation = "man:nixbuild-serve-proxy(1)";
          Requires = [ "nixbuild-proxy.socket" ];
          After = [ "nixbuild-proxy.socket" ];
          StartLimitIntervalSec = 0;
          X-Restart-Triggers = [ "${toml.generate "nixbuild-config.toml" cfg.settings}" ];
        };
        Service = {
          Type = "notify";
          ExecStart = "${cfg.package}/bin/nixbuild serve-proxy";
          CacheDirectory = "nixbuild-proxy";
          Restart = "on-failure";
          RestartSec = 1;
          WatchdogSec = 30;
          NoNewPrivileges = true;
        };
        Install.WantedBy = [ "default.target" ];
      };
    })
    (lib.mkIf (cfg.buildServer.peer.enable && recordKeys cfg != [ ]) {
      assertions = [{
        assertion = pkgs.stdenv.hostPlatform.isLinux;
        message = "programs.bootstrap.buildServer.peer: this works on Linux only.";
      }];
    })
    (lib.mkIf (cfg.buildServer.peer.enable && recordKeys cfg != [ ] && !systemIsPeer) {
      # As in systemd/nixbuild-peer.service.
      systemd.user.services.nixbuild-peer = {
        Unit = {
          Description = "What the build server has signed of this machine's Nix store, for other machines";
          Documentation = "man:nixbuild-serve-cache(1)";
          StartLimitIntervalSec = 0;
          X-Restart-Triggers = [ "${toml.generate "nixbuild-config.toml" cfg.settings}" ];
        };
        Service = {
          Type = "notify";
          StateDirectory = "nixbuild-peer";
          Environment = [ "NIXBUILD_STATE_DIR=%S/nixbuild-peer" ];
          ExecStart = "${cfg.package}/bin/nixbuild serve-cache --only-signed-by record_keys --nar-cache-size 2G";
          Restart = "on-failure";
          RestartSec = 1;
          RestartPreventExitStatus = 2;
          WatchdogSec = 30;
          Nice = 10;
          NoNewPrivileges = true;
        };
        Install.WantedBy = [ "default.target" ];
      };
    })
    # In addition to the system's caches. Nix asks the cache with the lowest priority number first, which
    # is the build server.
    (lib.mkIf (chosen.substituters != [ ]) {
      nix.settings = clientSettings // {
        extra-substituters = chosen.substituters;
        extra-trusted-public-keys = chosen.publicKeys;
      };
    })
  ]);
}
