# Home Manager: programs.bootstrap and services.bootstrap-services.
{
  imports = [ ./home.nix ./services.nix ];
}
