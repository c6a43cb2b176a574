# Copy this to secrets.nix, which git ignores: install -m 600 secrets.example.nix secrets.nix
#
# Outside git that file gets into the Nix store with the flake, where every user of this machine can
# read it. Write no secret into it, but the path of a file that holds it.
{
  buildServer = {
    address = "build-server";
    # What `nixbuild keys show` prints on the server, and http://SERVER:5000/nix-cache-info everywhere.
    publicKey = null;
  };

  syncthing = {
    # What `syncthing --device-id` prints here, and on the other machines.
    deviceId = null;
    devices = {
      # desktop = "AAAAAAA-…";
    };
  };

  # A key for joining the tailnet, where this machine has one.
  tailscale.authKeyFile = null;
}
