# Home Manager: what kind of machine this is. templates/*.nix set these options, each by one plain
# attribute set, and as-profile.nix makes modules of them.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.programs.bootstrap.profile;
in
{
  imports = [ ./nix-package.nix ];

  options.programs.bootstrap.profile = {
    name = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "The profile's name, which is this machine's name in folders' lists of devices.";
    };

    syncthingFolders = mkOption {
      type = types.nullOr (types.listOf types.str);
      default = null;
      description = "Which of Syncthing's default folders this machine has.";
    };

    services = mkOption {
      type = types.nullOr (types.listOf (types.enum [ "tailscale" "syncthing" ]));
      default = null;
      description = "Which of services.bootstrap-services are on.";
    };

    lowPowerMode = mkOption {
      type = types.bool;
      default = false;
      description = "Nix builds one derivation at a time, and Syncthing looks for changes once an hour.";
    };

    performanceMode = mkOption {
      type = types.bool;
      default = false;
      description = "Nix builds as many derivations at a time as there are processors.";
    };

    headless = mkOption {
      type = types.bool;
      default = false;
      description = "Nothing graphical: no tray icon, no desktop settings, no clipboard tools.";
    };
  };

  config = lib.mkMerge [
    {
      assertions = [{
        assertion = !(cfg.lowPowerMode && cfg.performanceMode);
        message = "programs.bootstrap.profile: lowPowerMode and performanceMode exclude each other.";
      }];
    }
    (lib.mkIf (cfg.lowPowerMode || cfg.performanceMode) {
      nix.settings.max-jobs = lib.mkDefault (if cfg.lowPowerMode then 1 else "auto");
    })
    (lib.mkIf cfg.headless {
      services.syncthing.tray.enable = lib.mkForce false;
      dconf.enable = lib.mkDefault false;
      fonts.fontconfig.enable = lib.mkDefault false;
    })
  ];
}
