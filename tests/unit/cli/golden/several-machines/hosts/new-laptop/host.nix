{
  system = "x86_64-linux";
  user = "ann";
  # This machine's secrets file, which git ignores.
  secrets = "/home/ann/nix/secrets/new-laptop.nix";
}
