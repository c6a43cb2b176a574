# Home Manager: Atuin, which syncs shell history and aliases between machines.
{ config, lib, ... }:
let
  cfg = config.programs.bootstrap;
  isWanted = (cfg.enable && cfg.atuin.enable) || (config.programs.terminal.enable or false);
in
{
  imports = [ ./cache-options.nix ];

  options.programs.bootstrap.atuin = {
    enable = lib.mkEnableOption "Atuin";

    syncServer = lib.mkOption {
      type = lib.types.str;
      default = "https://api.atuin.sh";
      description = "The Atuin server that the machines sync with.";
    };
  };

  config = lib.mkIf isWanted {
    programs.atuin = {
      enable = true;
      enableZshIntegration = lib.mkDefault true;
      enableBashIntegration = lib.mkDefault true;

      settings = {
        auto_sync = lib.mkDefault true;
        sync_address = lib.mkDefault cfg.atuin.syncServer;
        sync_frequency = lib.mkDefault "5m";

        search_mode = lib.mkDefault "fuzzy";
        filter_mode_shell_up_key_binding = lib.mkDefault "directory";

        style = lib.mkDefault "compact";
        inline_height = lib.mkDefault 20;

        history_filter = [
          "^secret"
          "^password"
        ];

        # Without this, Atuin syncs no aliases.
        dotfiles.enabled = true;
      };
    };
  };
}
