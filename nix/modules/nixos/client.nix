# NixOS: the build server as a substituter for all users, and the aliases that each of them syncs.
{ config, lib, pkgs, ... }:
let
  cfg = config.programs.bootstrap;
  synced = import ../synced-aliases.nix cfg.package;
  inherit (import ../caches.nix { inherit lib; }) caches clientSettings peerWarnings recordKeys;
  chosen = caches cfg;
in
{
  imports = [ ../cache-options.nix ./settings.nix ./tailscale.nix ];

  options.programs.bootstrap.atuin.enable =
    lib.mkEnableOption "Atuin, and in bash, zsh and fish the aliases that it syncs for the user";

  config = lib.mkIf cfg.enable (lib.mkMerge [
    {
      environment.systemPackages = [ cfg.package ];
      warnings = chosen.warnings ++ peerWarnings cfg;
    }
    (lib.mkIf cfg.buildServer.enable {
      services.nixbuild.settings.client = {
        server = lib.mkDefault cfg.buildServer.address;
        record_keys = lib.mkIf (recordKeys cfg != [ ]) (lib.mkDefault (recordKeys cfg));
      };
    })
    (lib.mkIf cfg.atuin.enable {
      environment.systemPackages = [ pkgs.atuin ];
      programs.bash.interactiveShellInit = lib.mkAfter synced.bash;
      programs.zsh.interactiveShellInit = lib.mkAfter synced.zsh;
      programs.fish.interactiveShellInit = lib.mkAfter synced.fish;
    })
    (lib.mkIf (cfg.buildServer.proxy.enable && chosen.upstreams != [ ]) {
      services.nixbuild.settings.proxy.upstream = lib.mkDefault chosen.upstreams;
      systemd.packages = [ cfg.package ];
      # NixOS ignores the [Install] sections of packaged units.
      systemd.sockets.nixbuild-proxy.wantedBy = [ "sockets.target" ];
      systemd.services.nixbuild-proxy = {
        wantedBy = [ "multi-user.target" ];
        restartTriggers = [ config.environment.etc."nixbuild/config.toml".source ];
      };
    })
    # A build server serves all of its store, on the same port.
    (lib.mkIf (cfg.buildServer.peer.enable && recordKeys cfg != [ ] && !(config.services.nixbuild.enable or false)) {
      systemd.packages = [ cfg.package ];
      systemd.services.nixbuild-peer = {
        wantedBy = [ "multi-user.target" ];
        restartTriggers = [ config.environment.etc."nixbuild/config.toml".source ];
        # The build server's users do not exist here.
        serviceConfig = {
          DynamicUser = true;
          User = "nixbuild-peer";
          Group = "nixbuild-peer";
        };
      };
      networking.firewall.interfaces.${config.services.tailscale.interfaceName}.allowedTCPPorts = [ 5000 ];
    })
    (lib.mkIf (chosen.substituters != [ ]) {
      nix.settings = clientSettings // {
        substituters = chosen.substituters;
        # Untrusted users can use these, for example in Home Manager's nix.conf.
        trusted-substituters = chosen.substituters;
        trusted-public-keys = chosen.publicKeys;
      };
    })
  ]);
}
