{ inputs, secrets, ... }:
{
  imports = [
    inputs.atuin-bootstrap.homeManagerModules.default
    inputs.atuin-bootstrap.homeManagerModules.laptop
    inputs.nix-terminal.homeManagerModules.terminal
  ];

  home = {
    username = "ann";
    homeDirectory = "/home/ann";
    stateVersion = "25.05";
  };

  programs.home-manager.enable = true;

  programs.bootstrap = {
    enable = true;
    buildServer = secrets.buildServer // {
      enable = true;
    };
    atuin = {
      enable = true;
      syncServer = "https://api.atuin.sh";
    };
    settings.update = secrets.update or { };
  };

  # The profile enables these and selects folders; settings here take precedence.
  services.bootstrap-services = {
    syncthing = secrets.syncthing // {
      folders = { };
    };
    tailscale = secrets.tailscale;
  };
}
