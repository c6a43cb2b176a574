{
  syncthingFolders = [ "documents" "code" "dotfiles" ];
  services = [ "tailscale" "syncthing" ];
  lowPowerMode = true;
  cacheProxy = true;
}
