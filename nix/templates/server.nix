{
  syncthingFolders = [ "dotfiles" "backups" ];
  services = [ "tailscale" ];
  headless = true;
}
