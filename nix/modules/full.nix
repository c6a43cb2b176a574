# Home Manager: all modules.
{
  imports = [ ./default.nix ./terminal.nix ];
}
