{ inputs, secrets, ... }:
{
  imports = [ inputs.atuin-bootstrap.homeManagerModules.build-client ];

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
    settings.update = secrets.update or { };
  };
}
