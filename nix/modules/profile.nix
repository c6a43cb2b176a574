# Home Manager: the kind of machine. Each file in templates/*.nix is an attribute set of these options,
# of which as-profile.nix makes a module.
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
      description = "Name of the profile, and of this machine in the folders' device lists.";
    };

    syncthingFolders = mkOption {
      type = types.nullOr (types.listOf types.str);
      default = null;
      description = "The default Syncthing folders that this machine shares.";
    };

    services = mkOption {
      type = types.nullOr (types.listOf (types.enum [ "tailscale" "syncthing" ]));
      default = null;
      description = "The services in services.bootstrap-services to enable.";
    };

    lowPowerMode = mkOption {
      type = types.bool;
      default = false;
      description = "Build one derivation at a time, and let Syncthing scan for changes once an hour.";
    };

    performanceMode = mkOption {
      type = types.bool;
      default = false;
      description = "Build as many derivations in parallel as there are processors.";
    };

    cacheProxy = mkOption {
      type = types.bool;
      default = false;
      description = "Have Nix ask a proxy on this machine instead of the caches, as the build server may be asleep or far away (Linux only).";
    };

    headless = mkOption {
      type = types.bool;
      default = false;
      description = "Omit everything graphical: tray icon, desktop settings, clipboard tools.";
    };
  };

  config = lib.mkMerge [
    {
      assertions = [{
        assertion = !(cfg.lowPowerMode && cfg.performanceMode);
        message = "programs.bootstrap.profile: lowPowerMode and performanceMode are mutually exclusive.";
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
