# Home Manager: a terminal environment with zsh, Atuin, Neovim and tools. nixvim and devman are used if
# the configuration passes them as inputs in extraSpecialArgs.
{ config, lib, pkgs, ... }@args:
let
  inputs = args.inputs or { };
  modulesOf = input: (input.homeManagerModules or { }) // (input.homeModules or { });
  nixvim = if inputs ? nixvim then (modulesOf inputs.nixvim).nixvim else null;
  devman = if inputs ? devman then (modulesOf inputs.devman).default or null else null;
  devmanPackages = inputs.devman.packages.${pkgs.stdenv.hostPlatform.system} or { };
  isGraphical = pkgs.stdenv.hostPlatform.isLinux && !config.programs.bootstrap.profile.headless;
in
{
  imports = [ ./atuin.nix ./profile.nix ]
    ++ lib.optional (nixvim != null) nixvim
    ++ lib.optional (devman != null) devman;

  options.programs.terminal.enable =
    lib.mkEnableOption "zsh, Atuin, Neovim and tools" // { default = true; };

  config = lib.mkIf config.programs.terminal.enable {
    programs = {
      zsh = {
        enable = lib.mkDefault true;
        autosuggestion.enable = lib.mkDefault true;
        syntaxHighlighting.enable = lib.mkDefault true;
      };
      bat.enable = lib.mkDefault true;
      direnv = {
        enable = lib.mkDefault true;
        nix-direnv.enable = lib.mkDefault true;
      };
      eza.enable = lib.mkDefault true;
      fd.enable = lib.mkDefault true;
      git.enable = lib.mkDefault true;
      htop.enable = lib.mkDefault true;
      jq.enable = lib.mkDefault true;
      ripgrep.enable = lib.mkDefault true;
      tmux.enable = lib.mkDefault true;
      zoxide.enable = lib.mkDefault true;
    } // {
      ${if nixvim != null then "nixvim" else "neovim"} = {
        enable = lib.mkDefault true;
        defaultEditor = lib.mkDefault true;
        viAlias = lib.mkDefault true;
        vimAlias = lib.mkDefault true;
      };
    };

    home.packages = lib.optional (devman == null && devmanPackages ? default) devmanPackages.default
      # Neovim uses these to access the clipboard.
      ++ lib.optionals isGraphical [ pkgs.wl-clipboard pkgs.xclip ];
  };
}
