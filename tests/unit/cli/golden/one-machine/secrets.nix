# This machine's own values, which git ignores. Outside git they get into the Nix store with the
# flake, where every user of this machine can read them: write no secret here, but the path of a
# file that holds it.
{
  buildServer = {
    address = "build-server";
    publicKey = "build-server-1:Ppfs4u4Zi77ZguR6GbdFlHqFfYm99VHew4xO33MVXrM=";
  };

  # What `nixbuild system-update` rebuilds, in whatever directory it is typed.
  update = {
    home_flake = "/home/ann/nix";
    # Whether it has to pass --impure: git ignores this file, so inside a repository it has.
    impure = false;
  };

  syncthing = {
    # What `syncthing --device-id` prints here, and on the other machines.
    deviceId = null;
    devices = {
      # desktop = "AAAAAAA-…";
    };
  };

  # A key for joining the tailnet, where this machine has one.
  tailscale.authKeyFile = "/home/ann/.config/nixbuild/tailscale-auth-key";
}
