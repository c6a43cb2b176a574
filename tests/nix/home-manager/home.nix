# A stand-in for Home Manager: the options of it that this repository's modules set, and a home whose
# files can be read but not installed.
{ configuration ? { }, modules ? [ ], pkgs, lib ? pkgs.lib, extraSpecialArgs ? { }, osConfig ? null }:
let
  inherit (lib) mkOption types;
  set = mkOption { type = types.attrsOf types.anything; default = { }; };
  list = mkOption { type = types.listOf types.anything; default = [ ]; };
  flag = mkOption { type = types.bool; default = false; };
  program = { enable = flag; };
  lines = mkOption { type = types.lines; default = ""; };
  editor = program // { defaultEditor = flag; viAlias = flag; vimAlias = flag; };
  base = { config, ... }: {
    options = {
      assertions = list;
      warnings = list;
      dconf.enable = mkOption { type = types.bool; default = true; };
      fonts.fontconfig.enable = flag;
      home = {
        activation = set;
        activationPackage = mkOption { type = types.package; };
        file = set;
        homeDirectory = mkOption { type = types.path; };
        packages = list;
        sessionVariables = set;
        shellAliases = mkOption { type = types.attrsOf types.str; default = { }; };
        stateVersion = mkOption { type = types.str; };
        username = mkOption { type = types.str; };
      };
      nix.package = mkOption { type = types.nullOr types.package; default = null; };
      nix.settings = set;
      programs = {
        atuin = program // { enableBashIntegration = flag; enableZshIntegration = flag; settings = set; };
        bash = program // { initExtra = lines; };
        bat = program;
        direnv = program // { nix-direnv = program; };
        eza = program;
        fd = program;
        fish = program // { interactiveShellInit = lines; };
        git = program;
        home-manager = program;
        htop = program;
        jq = program;
        neovim = editor;
        ripgrep = program;
        tmux = program;
        zoxide = program;
        zsh = program // { initContent = lines; autosuggestion = program; syntaxHighlighting = program; };
      };
      services.syncthing = program // {
        settings.devices = set;
        settings.folders = set;
        tray = program;
      };
      systemd.user = { services = set; sockets = set; };
      xdg.configFile = set;
    };
    config = {
      _module.args = { inherit pkgs osConfig; };
      assertions = [{
        assertion = config.nix.settings == { } || config.nix.package != null;
        message = "nix.settings needs nix.package";
      }];
      home.activationPackage = derivation {
        name = "home-manager-generation";
        inherit (pkgs) system;
        builder = "/bin/sh";
        args = [ "-c" "echo \"$configuration\" > $out" ];
        configuration = builtins.toJSON {
          inherit (config.home) packages shellAliases username homeDirectory;
          inherit (config.programs) atuin;
          inherit (config.xdg) configFile;
          nix = config.nix.settings;
          syncthing = config.services.syncthing;
        };
      };
    };
  };
  evaluated = lib.evalModules {
    modules = [ base configuration ] ++ modules;
    specialArgs = { lib = lib // { hm.dag.entryAfter = after: data: { inherit after data; }; }; } // extraSpecialArgs;
  };
  failed = builtins.filter (one: !one.assertion) evaluated.config.assertions;
  config = if failed == [ ] then evaluated.config else throw (builtins.head failed).message;
in
evaluated // {
  inherit config pkgs;
  activationPackage = builtins.foldl' (value: warning: builtins.trace "warning: ${warning}" value)
    config.home.activationPackage
    config.warnings;
}
