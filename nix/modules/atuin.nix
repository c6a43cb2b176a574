# Home Manager: Atuin, which syncs shell history and aliases between machines.
{ config, lib, options, ... }:
let
  cfg = config.programs.bootstrap;
  synced = import ./synced-aliases.nix cfg.package;
  # Older versions of Home Manager call it initExtra.
  zshInit = if options.programs.zsh ? initContent then "initContent" else "initExtra";
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

  config = lib.mkIf isWanted (lib.mkMerge [{
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

        # Without this, Atuin before 18.23 syncs no aliases.
        dotfiles.enabled = true;
      };
    };
  }
    (lib.mkIf cfg.enable {
      # Atuin 18.23 and newer load no aliases. Behind `atuin init` and the aliases of the configuration:
      # what was synced is newer.
      programs.bash.initExtra = lib.mkAfter synced.bash;
      programs.zsh.${zshInit} = lib.mkAfter synced.zsh;
      programs.fish.interactiveShellInit = lib.mkAfter synced.fish;
    })]);
}
