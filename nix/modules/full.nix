# Home Manager: everything together.
{
  imports = [ ./default.nix ./terminal.nix ];
}
