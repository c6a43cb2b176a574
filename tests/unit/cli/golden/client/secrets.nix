# This machine's own values. Git ignores this file. Outside git it is copied to the Nix store with the
# flake, where every user of this machine can read it: do not write secrets here, only the paths of
# files that contain them.
{
  buildServer = {
    address = "build-server";
    publicKey = "build-server-1:Ppfs4u4Zi77ZguR6GbdFlHqFfYm99VHew4xO33MVXrM=";
  };

  # The flake that `nixbuild system-update` rebuilds, from any directory.
  update = {
    home_flake = "/home/ann/nix";
    # In a git repository this file can be read only with --impure.
    impure = false;
  };
}
