# Copy this file to secrets.nix, which git ignores: install -m 600 secrets.example.nix secrets.nix
#
# Outside git, secrets.nix is copied to the Nix store with the flake, where every user of this machine
# can read it: do not write secrets there, only the paths of files that contain them.
{
  buildServer = {
    address = "build-server";
    # As `nixbuild keys show` prints it on the server, or http://SERVER:5000/nix-cache-info.
    publicKey = null;
  };

  syncthing = {
    # As `syncthing --device-id` prints it, on this machine and on the others.
    deviceId = null;
    devices = {
      # desktop = "AAAAAAA-…";
    };
  };

  # A file with a key for joining the tailnet, if this machine has one.
  tailscale.authKeyFile = null;
}
