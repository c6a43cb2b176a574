# services.bootstrap-services.tailscale, shared by Home Manager and NixOS.
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
        The auth key itself. It is copied to the Nix store, where every user of this machine can read it:
        prefer authKeyFile.
      '';
    };

    authKeyFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      # Interpolating a path into a string would copy the file to the store.
      apply = file: if file == null then null else toString file;
      example = "/home/me/.config/nixbuild/tailscale-auth-key";
      description = "File with the auth key, outside the flake and the Nix store.";
    };

    keyFile = mkOption {
      type = types.nullOr types.str;
      internal = true;
      readOnly = true;
      description = "Path of the auth key, from either option.";
    };
  };

  config = {
    services.bootstrap-services.tailscale.keyFile =
      if cfg.authKeyFile != null then cfg.authKeyFile
      else if cfg.authKey != "" then "${pkgs.writeText "tailscale-auth-key" cfg.authKey}"
      else null;

    assertions = [{
      assertion = cfg.authKey == "" || cfg.authKeyFile == null;
      message = "services.bootstrap-services.tailscale: authKey and authKeyFile are mutually exclusive.";
    }];

    warnings =
      lib.optional (cfg.enable && cfg.authKey != "")
        (
          "services.bootstrap-services.tailscale.authKey is copied to the Nix store, where every user of "
          + "this machine can read it. Write the key to a file that only you can read, and set "
          + "authKeyFile to its path."
        )
      ++ lib.optional (cfg.authKeyFile != null && isInStore cfg.authKeyFile) (
        "services.bootstrap-services.tailscale.authKeyFile is ${cfg.authKeyFile}, in the Nix store, "
        + "where every user of this machine can read it. Use a file outside the flake, as a string."
      );
  };
}
