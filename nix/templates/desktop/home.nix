{ inputs, secrets, ... }:
{
  imports = [
    inputs.atuin-bootstrap.homeManagerModules.desktop
    inputs.atuin-bootstrap.homeManagerModules.full
  ];

  home = {
    username = "me";
    homeDirectory = "/home/me";
    stateVersion = "25.05";
  };

  programs.home-manager.enable = true;

  programs.bootstrap = {
    enable = true;
    buildServer = {
      enable = true;
      inherit (secrets.buildServer) address publicKey;
    };
    atuin.enable = true;
  };

  # The profile enables these and selects folders; settings here take precedence.
  services.bootstrap-services = {
    syncthing = {
      inherit (secrets.syncthing) deviceId devices;
      folders = { };
    };
    tailscale = {
      inherit (secrets.tailscale) authKeyFile;
    };
  };
}
