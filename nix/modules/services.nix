# Home Manager: services.bootstrap-services, Syncthing and Tailscale with shared defaults that each
# machine can override attribute by attribute.
{ config, lib, options, osConfig, pkgs, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.services.bootstrap-services;
  profile = config.programs.bootstrap.profile;
  folder = types.attrsOf types.anything;

  builtinFolders = import ./default-folders.nix config.home.homeDirectory;

  # Without a profile: the folders in defaultFolders if that is set, otherwise these two.
  namesByDefault =
    if profile.syncthingFolders != null then profile.syncthingFolders
    else if options.services.bootstrap-services.syncthing.defaultFolders.highestPrio
      < (lib.mkOptionDefault null).priority
    then builtins.attrNames cfg.syncthing.defaultFolders
    else [ "documents" "dotfiles" ];
  names = lib.unique (namesByDefault ++ builtins.attrNames cfg.syncthing.folders);

  # Attribute by attribute, so that a folder keeps what is not overridden.
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

  # The devices without a known ID, each with the folders that name it.
  foldersWithoutId = lib.foldl'
    (found: { name, device }: found // { ${device} = (found.${device} or [ ]) ++ [ name ]; })
    { }
    (builtins.filter ({ device, ... }: !(peers ? ${device}) && !isSelf device)
      (lib.concatMap (name: map (device: { inherit name; device = nameOf device; }) (devicesOf wanted.${name}))
        (builtins.attrNames wanted)));

  # Eight groups of seven characters, as the web interface shows it.
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
        Folders that machines can share, as in `services.syncthing.settings.folders`. The profile's
        `syncthingFolders` selects among them. Without a profile, documents and dotfiles are shared, or,
        if this option is set, all folders in it.
      '';
    };

    folders = mkOption {
      type = types.attrsOf folder;
      default = { };
      example = {
        documents.path = "/custom/docs";
        photos = { path = "/mnt/external/photos"; devices = [ "desktop" ]; };
      };
      description = "Additional folders of this machine, and overrides for default folders.";
    };

    devices = mkOption {
      type = types.attrsOf (types.nullOr types.str);
      default = { };
      example = { desktop = "7CFNTQM-IMTJBHJ-3UWRDIU-ZGQJFR6-VCXZ3NB-XUH3KZO-N52ITXR-LAIYUAU"; };
      description = "Syncthing IDs of the devices that folders name; null if not known yet.";
    };

    deviceId = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Syncthing ID of this machine. It is left out of the folders' device lists.";
    };

    self = mkOption {
      type = types.nullOr types.str;
      default = profile.name;
      defaultText = lib.literalExpression "config.programs.bootstrap.profile.name";
      description = "Name of this machine, which is left out of the folders' device lists.";
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
          message = "programs.bootstrap.profile.syncthingFolders: unknown folder '${name}'; define it in "
            + "services.bootstrap-services.syncthing.folders";
        })
        unknown;

      warnings = lib.mapAttrsToList
        (device: names: "Syncthing: the ID of '${device}' is not set, so it does not share "
          + "${lib.concatStringsSep ", " names}. Set "
          + "services.bootstrap-services.syncthing.devices.${device}, or self if it is this machine.")
        foldersWithoutId
      ++ lib.mapAttrsToList
        (device: id: "services.bootstrap-services.syncthing.devices.${device}: '${id}' is not a "
          + "Syncthing device ID.")
        (lib.filterAttrs (_: id: !isDeviceId id) peers);
    })

    # NixOS provides the command. Elsewhere the system runs the daemon, and this is its client.
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
