# Folders for Syncthing, each with the machines that share it.
homeDirectory:
let
  personal = [ "laptop" "desktop" ];
  everywhere = [ "laptop" "desktop" "server" ];
in
{
  documents = {
    path = "${homeDirectory}/Documents";
    devices = personal;
  };
  code = {
    path = "${homeDirectory}/Code";
    devices = personal;
  };
  dotfiles = {
    path = "${homeDirectory}/.config";
    devices = everywhere;
    # Not shared: Syncthing's identity of this machine, and secrets.
    ignorePatterns = [ "/syncthing" "secrets" "secrets.nix" "*auth-key" "token" ];
  };
  photos = {
    path = "${homeDirectory}/Pictures";
    devices = personal;
  };
  music = {
    path = "${homeDirectory}/Music";
    devices = personal;
  };
  videos = {
    path = "${homeDirectory}/Videos";
    devices = personal;
  };
  backups = {
    path = "${homeDirectory}/Backups";
    devices = everywhere;
  };
}
