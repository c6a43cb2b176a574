# services.bootstrap-services.tailscale, for Home Manager and NixOS alike.
{ config, lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.services.bootstrap-services.tailscale;
  isInStore = file: lib.hasPrefix "${builtins.storeDir}/" file;
in
{
  options.services.bootstrap-services.tailscale = {
    enable = lib.mkEnableOption "Tailscale" // { default = true; };

    authKey = mkOption {
      type = types.str;
      default = "";
      description = ''
        The auth key itself. It becomes readable for every user of this machine, since configurations
        lie in the Nix store: prefer authKeyFile.
      '';
    };

    authKeyFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      # A path must not be copied to the store, as it would be inside a string.
      apply = file: if file == null then null else toString file;
      example = "/home/me/.config/nixbuild/tailscale-auth-key";
      description = "The file that holds the auth key, outside the flake and the store.";
    };

    keyFile = mkOption {
      type = types.nullOr types.str;
      internal = true;
      readOnly = true;
      description = "Where the auth key is, whichever way it was given.";
    };
  };

  config = {
    services.bootstrap-services.tailscale.keyFile =
      if cfg.authKeyFile != null then cfg.authKeyFile
      else if cfg.authKey != "" then "${pkgs.writeText "tailscale-auth-key" cfg.authKey}"
      else null;

    assertions = [{
      assertion = cfg.authKey == "" || cfg.authKeyFile == null;
      message = "services.bootstrap-services.tailscale: give authKey or authKeyFile, not both.";
    }];

    warnings =
      lib.optional (cfg.enable && cfg.authKey != "")
        (
          "services.bootstrap-services.tailscale.authKey lies in the Nix store, where every user of this "
          + "machine can read it. Write the key into a file that only you can read, and name that file "
          + "in authKeyFile."
        )
      ++ lib.optional (cfg.authKeyFile != null && isInStore cfg.authKeyFile) (
        "services.bootstrap-services.tailscale.authKeyFile is ${cfg.authKeyFile}, in the Nix store, "
        + "where every user of this machine can read it. Name a file outside the flake, as a string."
      );
  };
}
