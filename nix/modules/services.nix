# Home Manager: services.bootstrap-services, Syncthing and Tailscale with defaults that every machine
# shares and may override one attribute at a time.
{ config, lib, options, osConfig, pkgs, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.services.bootstrap-services;
  profile = config.programs.bootstrap.profile;
  folder = types.attrsOf types.anything;

  builtinFolders = import ./default-folders.nix config.home.homeDirectory;

  # Without a profile: the folders that a configuration names, or else the two that the base has
  # always had.
  namesByDefault =
    if profile.syncthingFolders != null then profile.syncthingFolders
    else if options.services.bootstrap-services.syncthing.defaultFolders.highestPrio
      < (lib.mkOptionDefault null).priority
    then builtins.attrNames cfg.syncthing.defaultFolders
    else [ "documents" "dotfiles" ];
  names = lib.unique (namesByDefault ++ builtins.attrNames cfg.syncthing.folders);

  # One attribute of a folder replaces one attribute; the others stay.
  merged = lib.recursiveUpdate (lib.recursiveUpdate builtinFolders cfg.syncthing.defaultFolders)
    cfg.syncthing.folders;
  unknown = builtins.filter (name: !(merged ? ${name})) names;
  wanted = lib.getAttrs (builtins.filter (name: merged ? ${name}) names) merged;

  nameOf = device: if builtins.isAttrs device then device.name else device;
  devicesOf = folder: folder.devices or [ ];
  isSelf = name: name == cfg.syncthing.self
    || (cfg.syncthing.deviceId != null && cfg.syncthing.devices.${name} or null == cfg.syncthing.deviceId);
  peers = lib.filterAttrs (name: id: !isSelf name && id != null && id != "") cfg.syncthing.devices;

  lowPower = lib.optionalAttrs profile.lowPowerMode {
    rescanIntervalS = 3600;
    fsWatcherEnabled = false;
  };
  folders = lib.mapAttrs
    (_: folder: lowPower // folder // {
      devices = builtins.filter (device: peers ? ${nameOf device}) (devicesOf folder);
    })
    wanted;

  # Each device that a folder names, but of which no ID is known, with these folders.
  foldersWithoutId = lib.foldl'
    (found: { name, device }: found // { ${device} = (found.${device} or [ ]) ++ [ name ]; })
    { }
    (builtins.filter ({ device, ... }: !(peers ? ${device}) && !isSelf device)
      (lib.concatMap (name: map (device: { inherit name; device = nameOf device; }) (devicesOf wanted.${name}))
        (builtins.attrNames wanted)));

  # Seven characters, eight times; the web interface shows IDs so.
  isDeviceId = id: builtins.match "([A-Z2-7]{7}-){7}[A-Z2-7]{7}" id != null;
in
{
  imports = [ ./profile.nix ./tailscale-options.nix ];

  options.services.bootstrap-services.syncthing = {
    enable = lib.mkEnableOption "Syncthing";

    defaultFolders = mkOption {
      type = types.attrsOf folder;
      default = builtinFolders;
      defaultText = lib.literalMD "documents, code, dotfiles, photos, music, videos, backups";
      description = ''
        Folders as every machine has them: attributes of `services.syncthing.settings.folders`. The
        profile's `syncthingFolders` selects among them; without a profile, documents and dotfiles are
        shared, or, where this option is set, the folders that it names.
      '';
    };

    folders = mkOption {
      type = types.attrsOf folder;
      default = { };
      example = {
        documents.path = "/custom/docs";
        photos = { path = "/mnt/external/photos"; devices = [ "desktop" ]; };
      };
      description = "This machine's further folders, and what is different here in a default one.";
    };

    devices = mkOption {
      type = types.attrsOf (types.nullOr types.str);
      default = { };
      example = { desktop = "7CFNTQM-IMTJBHJ-3UWRDIU-ZGQJFR6-VCXZ3NB-XUH3KZO-N52ITXR-LAIYUAU"; };
      description = "The Syncthing ID of each device that folders name; null where it is not known yet.";
    };

    deviceId = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "This machine's own Syncthing ID: the device that has it is not shared with.";
    };

    self = mkOption {
      type = types.nullOr types.str;
      default = profile.name;
      defaultText = lib.literalExpression "config.programs.bootstrap.profile.name";
      description = "This machine's name in folders' lists of devices, where it is left out.";
    };
  };

  config = lib.mkMerge [
    (lib.mkIf (profile.services != null) {
      services.bootstrap-services.syncthing.enable =
        lib.mkDefault (builtins.elem "syncthing" profile.services);
      services.bootstrap-services.tailscale.enable =
        lib.mkDefault (builtins.elem "tailscale" profile.services);
    })

    (lib.mkIf cfg.syncthing.enable {
      services.syncthing = {
        enable = true;
        settings = {
          devices = lib.mapAttrs (_: id: { inherit id; }) peers;
          inherit folders;
        };
      };

      assertions = map
        (name: {
          assertion = false;
          message = "programs.bootstrap.profile.syncthingFolders names '${name}', which is neither among "
            + "services.bootstrap-services.syncthing.defaultFolders nor in its folders.";
        })
        unknown;

      warnings = lib.mapAttrsToList
        (device: names: "Syncthing: no ID is known of '${device}', so it does not get "
          + "${lib.concatStringsSep ", " names}. Set "
          + "services.bootstrap-services.syncthing.devices.${device}, or self where it is this machine.")
        foldersWithoutId
      ++ lib.mapAttrsToList
        (device: id: "Syncthing: '${id}' is no ID of a device, but that is what "
          + "services.bootstrap-services.syncthing.devices.${device} says.")
        (lib.filterAttrs (_: id: !isDeviceId id) peers);
    })

    # NixOS brings its own; anywhere else the daemon is the system's, and this is the command to talk
    # to it.
    (lib.mkIf (cfg.tailscale.enable && !(osConfig.services.tailscale.enable or false)) {
      home.packages = [ pkgs.tailscale ];

      home.activation = lib.mkIf (cfg.tailscale.keyFile != null) {
        tailscaleLogin = lib.hm.dag.entryAfter [ "writeBoundary" ] ''
          if ! ${pkgs.tailscale}/bin/tailscale status >/dev/null 2>&1; then
            tailscaleUp='sudo tailscale up'
            if [ -e ${lib.escapeShellArg cfg.tailscale.keyFile} ]; then
              tailscaleUp=${lib.escapeShellArg
                "sudo tailscale up --auth-key ${lib.escapeShellArg "file:${cfg.tailscale.keyFile}"}"}
            fi
            printf '%s\n' 'This machine is not connected to Tailscale. To connect it:' "  $tailscaleUp"
          fi
        '';
      };
    })
  ];
}
