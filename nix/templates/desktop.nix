{
  syncthingFolders = [ "documents" "photos" "music" "videos" ];
  services = [ "tailscale" "syncthing" ];
  performanceMode = true;
  cacheProxy = true;
}
